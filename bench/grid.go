//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// grid is a table, for the terminal and for the report: the first column names
// the rows.
type grid struct {
	Head []string
	Rows [][]string
}

// column is one of a grid whose rows are of T. What was not measured is NaN.
type column[T any] struct {
	head, format string
	of           func(T) float64
}

// gridOf leaves out columns in which no row has anything.
func gridOf[T any](rows []T, name func(T) string, columns []column[T]) grid {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c column[T]) bool {
		return !slices.ContainsFunc(rows, func(v T) bool { return !math.IsNaN(c.of(v)) })
	})
	g := grid{Head: []string{""}}
	for _, c := range columns {
		g.Head = append(g.Head, c.head)
	}
	for _, v := range rows {
		cells := []string{name(v)}
		for _, c := range columns {
			text := ""
			if n := c.of(v); !math.IsNaN(n) {
				text = fmt.Sprintf(c.format, n)
			}
			cells = append(cells, text)
		}
		g.Rows = append(g.Rows, cells)
	}
	return g
}

// some is v, or NaN where there is none.
func some(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

func (g grid) write(w io.Writer) {
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	for _, cells := range slices.Concat([][]string{g.Head}, g.Rows) {
		fmt.Fprintf(t, "%s\t\n", strings.Join(cells, "\t"))
	}
	t.Flush()
}
