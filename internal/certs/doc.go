// Package certs makes, reads and checks the certificates of a cluster's
// processes, and reads those that are shown to players and operators.
//
// A process is known by its certificate's name, which says which cluster it
// belongs to, its role and its node's name. The certificates come from files,
// signed by a private CA; or every process makes its own, signed by a CA that is
// derived from the cluster's secret, so that whoever has the secret is a node.
package certs
