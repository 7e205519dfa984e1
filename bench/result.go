//go:build linux

package main

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/limpet-games/limpet/bench/load"
	"github.com/limpet-games/limpet/bench/system"
)

// result is one run of one system.
type result struct {
	System      string  `json:"system"`
	Plan        plan    `json:"plan"`
	Seconds     float64 `json:"seconds"`
	Members     int     `json:"members"`
	Deliveries  uint64  `json:"deliveries"`
	Lost        uint64  `json:"lost"`
	Duplicated  uint64  `json:"duplicated"`
	Inputs      uint64  `json:"inputs"`
	Refused     uint64  `json:"joins_refused"`
	Expected    uint64  `json:"inputs_asked_again"`
	Broken      uint64  `json:"connections_broken"`
	Ticks       float64 `json:"ticks_delivered_percent"` // of what rate, members and time make
	Lateness    spread  `json:"tick_lateness_us"`
	Input       spread  `json:"input_to_state_us"`
	Join        spread  `json:"join_us"`
	JoinsPerSec float64 `json:"joins_per_second"`
	CPU         float64 `json:"cpu_us_per_delivery"` // of all the system's processes; = CPU seconds per million
	CPUShare    float64 `json:"cpu_percent"`         // of one CPU
	LoadCPU     float64 `json:"load_cpu_percent"`
	StoreCPU    float64 `json:"store_cpu_percent"` // of Redis, which counts as none of the system's
	JoinCPU     float64 `json:"cpu_us_per_join"`
	AnonKiB     float64 `json:"anon_kib_per_member"` // beyond what the empty system had

	JoinCosts []joinCost `json:"join_costs"`
	Processes []process  `json:"processes"`
	Gates     gates      `json:"gates"`
	Trail     []moment   `json:"trail,omitempty"` // of a soak
}

// process is one of a system's processes.
type process struct {
	Name      string  `json:"name"`
	CPU       float64 `json:"cpu_us_per_delivery"`
	CPUShare  float64 `json:"cpu_percent"` // of one CPU
	RSSMiB    float64 `json:"rss_mib"`
	AnonMiB   float64 `json:"anon_mib"`
	AnonKiB   float64 `json:"anon_kib_per_member"`
	Metered   bool    `json:"metered"` // has the metrics that what follows is from
	Allocs    float64 `json:"allocs_per_delivery"`
	AllocRate float64 `json:"allocs_per_second"`
	GCs       float64 `json:"gc_cycles"`
	GCPauseUS float64 `json:"gc_pause_us_mean"`
	GCTopUS   float64 `json:"gc_pause_us_max"` // of the last few hundred, from the start of the process
	GCPercent float64 `json:"gc_cpu_percent"`  // of its CPU time
	AssistUS  float64 `json:"gc_assist_us_per_second"`
	Routines  float64 `json:"goroutines"`
}

// joinCost is what a join costs one of the processes.
type joinCost struct {
	Name      string  `json:"name"`
	CPU       float64 `json:"cpu_us"`
	Allocs    float64 `json:"allocs"`
	Bytes     float64 `json:"alloc_bytes"`
	GCs       float64 `json:"gc_cycles"`      // of all the joins
	GCPercent float64 `json:"gc_cpu_percent"` // of the process's CPU time meanwhile
}

// gates are counts that noise does not change. Zero: the system has no such
// counter.
type gates struct {
	WritesPerDelivery  float64 `json:"client_writes_per_delivery"`
	ReadsPerInput      float64 `json:"client_reads_per_input"`
	OutputsPerTick     float64 `json:"link_outputs_per_room_tick"`
	LinkWritesPerTick  float64 `json:"host_link_writes_per_room_tick"`
	LinkWritesPerInput float64 `json:"gateway_link_writes_per_input"`
	CallsPerDelivery   float64 `json:"socket_calls_per_delivery"` // gateway: writes and reads, of clients and of the link
}

// spread is a distribution, in microseconds.
type spread struct {
	Count               int64 `json:"count"`
	P50, P99, P999, Max float64
	Curve               []point `json:"curve,omitempty"`
}

// point is a quantile of a distribution: as percentile, and microseconds.
type point struct{ Percentile, US float64 }

func spreadOf(h *hdrhistogram.Histogram) spread {
	s := spread{Count: h.TotalCount()}
	if s.Count == 0 {
		return s
	}
	at := func(q float64) float64 { return float64(h.ValueAtPercentile(q)) / 1000 }
	s.P50, s.P99, s.P999, s.Max = at(50), at(99), at(99.9), float64(h.Max())/1000
	for _, q := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100} {
		s.Curve = append(s.Curve, point{q, at(q)})
	}
	return s
}

// sample is what processes had used at one moment.
type sample struct {
	at    time.Time
	all   []system.Usage
	self  system.Usage
	store time.Duration // of CPU
}

func (r *result) addLoad(p plan, joined, played load.Stats) {
	r.Seconds, r.Members = played.For.Seconds(), played.Joined
	r.Deliveries, r.Lost, r.Duplicated = played.Deliveries, played.Lost, played.Duplicated
	r.Inputs, r.Expected, r.Broken = played.Inputs, played.Expected, played.Broken
	r.Refused = joined.Refused + played.Refused
	r.Lateness, r.Input, r.Join = spreadOf(played.Lateness), spreadOf(played.Input), spreadOf(joined.Join)
	r.JoinsPerSec = float64(joined.Joins) / joined.For.Seconds()
	if !p.Echo {
		due := float64(p.members()*p.Tick*p.Messages) * r.Seconds
		r.Ticks = 100 * float64(played.Deliveries) / due
	}
}

// addJoins compares samples of before and after the joins.
func (r *result) addJoins(names []string, empty, in sample) {
	members := float64(r.Plan.members())
	for i, name := range names {
		used := (in.all[i].CPU - empty.all[i].CPU).Seconds()
		grew := func(m string) float64 { return in.all[i].Metrics.Sum(m) - empty.all[i].Metrics.Sum(m) }
		c := joinCost{
			Name: name, CPU: 1e6 * used / members,
			Allocs: grew("go_memstats_mallocs_total") / members,
			Bytes:  grew("go_memstats_alloc_bytes_total") / members,
			GCs:    grew("go_gc_duration_seconds_count"),
		}
		if used > 0 {
			c.GCPercent = 100 * grew("go_cpu_classes_gc_total_cpu_seconds_total") / used
		}
		r.JoinCosts = append(r.JoinCosts, c)
		r.JoinCPU += c.CPU
	}
}

// addUsage compares samples: of the empty system, with all clients joined, and
// before and after the play. again was taken right behind that: between the two
// there is what the reading of metrics allocates.
func (r *result) addUsage(names []string, empty, before, after, again sample) {
	deliveries := float64(r.Deliveries)
	if deliveries == 0 {
		deliveries = math.Inf(1) // nothing to share the cost among
	}
	wall := after.at.Sub(before.at).Seconds()
	members := float64(max(1, r.Members))
	for i, name := range names {
		e, b, a := empty.all[i], before.all[i], after.all[i]
		p := process{
			Name: name, CPU: (a.CPU - b.CPU).Seconds() * 1e6 / deliveries, CPUShare: 100 * (a.CPU - b.CPU).Seconds() / wall,
			RSSMiB: float64(a.RSS) / (1 << 20), AnonMiB: float64(a.Anon) / (1 << 20),
			AnonKiB: (float64(a.Anon) - float64(e.Anon)) / 1024 / members,
		}
		if a.Metrics != nil {
			grew := func(m string) float64 { return a.Metrics.Sum(m) - b.Metrics.Sum(m) }
			const mallocs = "go_memstats_mallocs_total"
			reading := again.all[i].Metrics.Sum(mallocs) - a.Metrics.Sum(mallocs)
			p.Metered = true
			allocs := max(0, grew(mallocs)-reading)
			p.Allocs, p.AllocRate = allocs/deliveries, allocs/wall
			p.GCs = grew("go_gc_duration_seconds_count")
			if p.GCs > 0 {
				p.GCPauseUS = 1e6 * grew("go_gc_duration_seconds_sum") / p.GCs
			}
			p.GCTopUS = 1e6 * a.Metrics[`go_gc_duration_seconds{quantile="1"}`]
			if used := (a.CPU - b.CPU).Seconds(); used > 0 {
				p.GCPercent = 100 * grew("go_cpu_classes_gc_total_cpu_seconds_total") / used
			}
			p.AssistUS = 1e6 * grew("go_cpu_classes_gc_mark_assist_cpu_seconds_total") / wall
			p.Routines = a.Metrics["go_goroutines"]
		}
		r.Processes = append(r.Processes, p)
		r.CPU += p.CPU
		r.AnonKiB += p.AnonKiB
		r.CPUShare += p.CPUShare
	}
	r.LoadCPU = 100 * (after.self.CPU - before.self.CPU).Seconds() / wall
	r.StoreCPU = 100 * (after.store - before.store).Seconds() / wall
	r.addGates(names, before, after)
}

// addGates reads Limpet's own counters.
func (r *result) addGates(names []string, before, after sample) {
	grew := func(prefix, metric string) (sum float64) {
		for i, name := range names {
			if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
				sum += after.all[i].Metrics.Sum(metric) - before.all[i].Metrics.Sum(metric)
			}
		}
		return sum
	}
	over := func(a, b float64) float64 {
		if b == 0 {
			return 0
		}
		return a / b
	}
	// What the gateways and hosts counted, not the clients: the samples are
	// taken at their own moments.
	delivered := grew("gatewayd", `limpet_gateway_frames_total{direction="out",type="latest"`) +
		grew("gatewayd", `limpet_gateway_frames_total{direction="out",type="message"`) +
		grew("gatewayd", `limpet_gateway_frames_total{direction="out",type="ephemeral"`)
	inputs := grew("gatewayd", `limpet_gateway_frames_total{direction="in",type="input"`)
	writes, reads := grew("gatewayd", "limpet_gateway_socket_writes_total"), grew("gatewayd", "limpet_gateway_socket_reads_total")
	links := grew("gatewayd", "limpet_link_writes_total")
	r.Gates = gates{
		WritesPerDelivery:  over(writes, delivered),
		ReadsPerInput:      over(reads, inputs),
		OutputsPerTick:     over(grew("roomd", "limpet_host_outputs_total"), grew("roomd", "limpet_room_ticks_total")),
		LinkWritesPerTick:  over(grew("roomd", "limpet_link_writes_total"), grew("roomd", "limpet_room_ticks_total")),
		LinkWritesPerInput: over(links, inputs),
		CallsPerDelivery:   over(writes+reads+links+grew("roomd", "limpet_link_writes_total"), delivered),
	}
}
