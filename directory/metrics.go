package directory

import (
	"github.com/prometheus/client_golang/prometheus"
)

// register registers what was made, if there is somewhere to.
func register(r prometheus.Registerer, all ...prometheus.Collector) {
	if r != nil {
		r.MustRegister(all...)
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string, f func() float64) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

type memberMetrics struct {
	changes, buried, selfBuried, badMeta, tooMany, namesakes prometheus.Counter
	rejoins, strangers                                       *prometheus.CounterVec
}

func newMemberMetrics(r prometheus.Registerer, m *Members) memberMetrics {
	x := memberMetrics{
		changes:    counter("limpet_members_changes_total", "Views of the cluster that replaced another."),
		buried:     counter("limpet_members_buried_total", "Nodes known to be gone for good."),
		selfBuried: counter("limpet_members_self_buried_total", "Times another node said that this process is gone."),
		badMeta:    counter("limpet_members_bad_metadata_total", "Gossip about a node that could not be read."),
		tooMany:    counter("limpet_members_refused_total", "Nodes left out of the view because it was full."),
		namesakes:  counter("limpet_members_namesakes_total", "Processes that started under this node's name while it ran."),
		rejoins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "limpet_members_rejoins_total", Help: "Attempts to join a node that this one does not see.",
		}, []string{"result"}),
		strangers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "limpet_members_strangers_total", Help: "Gossip of peers that are not of this cluster, by what is wrong: label, key or version.",
		}, []string{"reason"}),
	}
	nodes := func(role Role) func() float64 {
		return func() float64 {
			v := m.View()
			if role == RoleHost {
				return float64(len(v.Hosts))
			}
			return float64(len(v.Nodes) - len(v.Hosts))
		}
	}
	health := func() float64 {
		if g := m.gossip.Load(); g != nil {
			return float64(g.GetHealthScore())
		}
		return 0
	}
	register(r, x.changes, x.buried, x.selfBuried, x.badMeta, x.tooMany, x.namesakes, x.rejoins, x.strangers,
		gauge("limpet_members_hosts", "Room hosts in this node's view.", nodes(RoleHost)),
		gauge("limpet_members_gateways", "Gateways in this node's view.", nodes(RoleGateway)),
		gauge("limpet_members_health_score", "How late this node is with its gossip; 0 is healthy.", health))
	return x
}

func (x memberMetrics) stranger(reason string) { x.strangers.WithLabelValues(reason).Inc() }

type serviceMetrics struct {
	lookups, hits, forwards, limit, unreachable   prometheus.Counter
	activations, failures, held, turnedDown       prometheus.Counter
	evicted, entries, unsent, duplicates          prometheus.Counter
	openFound, openCreated, openAsked, openMissed prometheus.Counter
	openRefused, openSurplus, openBusy            prometheus.Counter
}

func newServiceMetrics(r prometheus.Registerer, s *Service) serviceMetrics {
	c := func(name, help string) prometheus.Counter {
		m := counter("limpet_directory_"+name+"_total", help)
		register(r, m)
		return m
	}
	x := serviceMetrics{
		lookups:     c("lookups", "Requests for a room's place that reached this host."),
		hits:        c("hits", "Requests answered from an entry."),
		forwards:    c("forwards", "Requests passed on to the host that owns the room."),
		limit:       c("hop_limit", "Requests decided here because they had been passed on twice."),
		unreachable: c("unreachable", "Calls to hosts that did not answer."),
		activations: c("activations", "Rooms placed on a host by this one."),
		failures:    c("activation_failures", "Activations that ended without a place."),
		held:        c("held", "Activations that found the room claimed by another host."),
		turnedDown:  c("turned_down", "Hosts that could not take a room."),
		evicted:     c("entries_evicted", "Entries given up because the table was full."),
		entries:     c("entries_received", "Changes of entries that other hosts sent."),
		duplicates:  c("duplicates", "Times two copies of a room showed in the entries, of which one is told to end."),
		unsent:      c("entries_unsent", "Changes of entries that could not be sent."),
		openFound:   c("open_found", "Searches for any open room that found one."),
		openCreated: c("open_created", "Searches for any open room that made one."),
		openAsked:   c("open_asked", "Hosts asked for their open rooms."),
		openRefused: c("open_refused", "Seats that a room's host did not confirm to a search."),
		openBusy:    c("open_busy", "Searches turned away because too many were under way, or too many kinds and pools searched."),
		openSurplus: c("open_surplus", "Rooms that were made for searches while another one had a seat, because views differed."),
		openMissed:  c("open_missed", "Hosts that did not list their open rooms in time."),
	}
	register(r,
		gauge("limpet_directory_entries", "Rooms this host keeps entries of.", func() float64 { return float64(s.table.len()) }),
		gauge("limpet_directory_searches", "Rooms being activated through this host.", func() float64 { return float64(s.searches.len()) }),
		gauge("limpet_directory_outbox", "Changes of entries that wait to be sent.", func() float64 { return float64(s.outbox.len()) }))
	return x
}

type resolverMetrics struct {
	hits, misses, evicted, retries, fallbacks prometheus.Counter
}

func newResolverMetrics(r prometheus.Registerer, x *Resolver) resolverMetrics {
	c := func(name, help string) prometheus.Counter {
		m := counter("limpet_resolver_"+name+"_total", help)
		register(r, m)
		return m
	}
	register(r,
		gauge("limpet_resolver_cached", "Rooms whose place is cached.", func() float64 { return float64(x.cache.len()) }),
		gauge("limpet_resolver_searches", "Rooms being looked for.", func() float64 { return float64(x.searches.len()) }))
	return resolverMetrics{
		hits:      c("hits", "Rooms found in the cache."),
		misses:    c("misses", "Rooms that were asked for."),
		evicted:   c("evicted", "Places given up because the cache was full."),
		retries:   c("retries", "Searches made again while nodes settled."),
		fallbacks: c("fallbacks", "Owners of rooms that did not answer."),
	}
}
