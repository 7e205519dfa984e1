package link

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	links                        prometheus.Gauge
	sent, received, writes       prometheus.Counter
	full, down, refused, unknown prometheus.Counter
}

func newMetrics(r prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "limpet_link_" + name, Help: help})
	}
	m := metrics{
		links:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_link_links", Help: "Links that stand."}),
		sent:     counter("sent_bytes_total", "Bytes written to links."),
		received: counter("received_bytes_total", "Bytes read from links."),
		writes:   counter("writes_total", "Write calls on links; each carries a batch."),
		full:     counter("full_total", "Messages refused because a link's queue was full."),
		down:     counter("down_total", "Links that ended."),
		refused:  counter("refused_total", "Inbound links refused in the handshake."),
		unknown:  counter("unknown_total", "Messages of kinds this build does not know."),
	}
	if r != nil {
		r.MustRegister(m.links, m.sent, m.received, m.writes, m.full, m.down, m.refused, m.unknown)
	}
	return m
}
