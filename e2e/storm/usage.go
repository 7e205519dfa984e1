package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// usage is what processor time the processes take while the storm lasts.
type usage struct {
	began  time.Time
	pids   map[string][]int // by what they are
	before map[string]float64
}

func newUsage(c *cluster.Cluster, all crowd) *usage {
	u := &usage{began: time.Now(), pids: map[string][]int{
		"gateway": {c.Gateways[0].Pid()}, "hosts": {c.Hosts[0].Pid(), c.Hosts[1].Pid()}, "Redis": {c.Redis.Pid()},
	}}
	for _, m := range all.all {
		what := "clients that stay"
		if m.returns {
			what = "clients that come back"
		}
		u.pids[what] = append(u.pids[what], m.cmd.Process.Pid)
	}
	u.before = u.now()
	return u
}

func (u *usage) now() map[string]float64 {
	used := map[string]float64{}
	for what, pids := range u.pids {
		for _, pid := range pids {
			used[what] += processorTime(pid)
		}
	}
	return used
}

// atFirst are those in which all clients notice and come at once.
const atFirst = 3 * time.Second

// print tells the share of one core that each kind of process had.
func (u *usage) print() {
	took, after := time.Since(u.began).Seconds(), u.now()
	var parts []string
	for what := range u.pids {
		parts = append(parts, fmt.Sprintf("%s %.2f", what, (after[what]-u.before[what])/took))
	}
	slices.Sort(parts)
	fmt.Printf("cores in use in the storm's first %.1f s: %s\n", took, strings.Join(parts, ", "))
}

// gatewayLateness prints how late the gateway found itself since it started, and
// how far it slowed connections down.
func gatewayLateness(p *cluster.Process) error {
	resp, err := http.Get(p.Ops("/metrics"))
	if err != nil {
		return fmt.Errorf("ask gateway for its lateness: %w", err)
	}
	defer resp.Body.Close()
	var parts []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for _, name := range []string{"limpet_gateway_lateness_seconds_bucket", "limpet_gateway_accept_pace ", "limpet_gateway_accepts_paced_total ", "go_gc_duration_seconds{"} {
			if strings.HasPrefix(lines.Text(), name) {
				parts = append(parts, strings.TrimPrefix(lines.Text(), "limpet_gateway_"))
			}
		}
	}
	fmt.Println(strings.Join(parts, "\n"))
	return nil
}

// ownLateness prints how late the processes that measure were themselves.
func ownLateness(answers []answer) {
	var all []float64
	for _, a := range answers {
		all = append(all, a.Late...)
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	fmt.Printf("the measuring processes themselves were late in the storm: p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n",
		all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
}

// ticksPerSecond is the kernel's unit in /proc on Linux.
const ticksPerSecond = 100

// processorTime is what a process has used, in seconds.
func processorTime(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / ticksPerSecond
}

// bySecond prints how long the storm's echoes took, by when their inputs were
// sent.
func bySecond(answers []answer) {
	by := map[int][]float64{}
	for _, a := range answers {
		for i, at := range a.At {
			if i < len(a.Storm) && at >= 0 {
				by[int(at)] = append(by[int(at)], a.Storm[i])
			}
		}
	}
	var parts []string
	for second := range 60 {
		if p := by[second]; len(p) > 0 {
			slices.Sort(p)
			parts = append(parts, fmt.Sprintf("%d: %.0f/%.0f", second, p[len(p)/2], p[len(p)-1]))
		}
	}
	fmt.Printf("by the second, median/longest in ms: %s\n", strings.Join(parts, "  "))
}
