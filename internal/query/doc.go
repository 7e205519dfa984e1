// Package query asks questions about all live rooms: a small language, what
// each host makes of its own rooms (a Partial), and how the parts are put
// together. docs/queries.md describes the language.
//
// A Partial holds counts, sums, extremes and distributions, or the first rows
// in the order asked for: what hosts send does not grow with their rooms.
// Everything but percentiles is exact. Percentiles are exact up to MaxExact
// distinct values, above that within RelativeError of a value of that rank.
package query

// Bounds of a query and of its answer.
const (
	MaxText    = 4 << 10 // bytes of a query
	MaxItems   = 16      // columns and functions asked for
	MaxBy      = 4       // columns to group by
	MaxConds   = 16      // conditions
	MaxValues  = 64      // of one condition
	MaxLimit   = 1000    // rows of an answer
	MaxGroups  = 1000    // of one answer; rooms in later ones, by key, are left off and counted
	MaxPartial = 2 << 20 // bytes of one host's part
	MaxExact   = 512     // distinct values that a distribution keeps as they are

	defaultLimit = 100
)

// RelativeError bounds how far a percentile of more than MaxExact distinct
// values is off.
const RelativeError = 0.01
