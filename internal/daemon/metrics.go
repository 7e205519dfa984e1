package daemon

import (
	"regexp"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry is a metrics registry of the process's own, with the Go
// runtime's and the process's metrics and limpet_build_info.
func NewRegistry(program string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "limpet_build_info",
		Help: "1, labelled with what this process is.",
		ConstLabels: prometheus.Labels{
			"program": program, "version": Version(), "go": runtime.Version(),
		},
	})
	build.Set(1)
	reg.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{
			// What the collector costs, and how much of that those pay who allocate.
			Matcher: regexp.MustCompile(`^/(cpu/classes/gc/(total|mark/assist):cpu-seconds|gc/heap/live:bytes)$`),
		})),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
	)
	return reg
}
