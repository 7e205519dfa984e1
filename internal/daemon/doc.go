// Package daemon is what Limpet's processes have in common: flags with
// environment twins, logs, the operations listener, lifetimes with an ordered
// end, and the process's place in its cluster.
package daemon
