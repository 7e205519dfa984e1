package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// callSecrets has a process take a step of a change of the cluster's secret.
const callSecrets = 0x3b

// The steps in which a cluster's secret is changed, each on all nodes before the
// next. See Keyring.step.
const (
	SecretAdd  = "add"  // take another secret beside the first
	SecretUse  = "use"  // put it first
	SecretDrop = "drop" // take it away
)

// SecretsOrder has all nodes take a step. IDs are those of Keys.ID.
type SecretsOrder struct {
	Do string `json:"do"`
	ID string `json:"id,omitempty"` // which; not for add
}

// SecretsAnswer is what all nodes hold after a step. It was taken everywhere
// where nothing is missing; else it can be ordered again.
type SecretsAnswer struct {
	ID       string            `json:"id"` // the secret that the step was about
	Nodes    []NodeSecrets     `json:"nodes"`
	Asked    int               `json:"asked"`
	Answered int               `json:"answered"`
	Missing  []explain.Missing `json:"missing"`
}

// NodeSecrets are the secrets that a node holds, the one that it uses first.
type NodeSecrets struct {
	Node    string   `json:"node"`
	Role    string   `json:"role"`
	Secrets []string `json:"secrets"`
}

// AskAHost is what a gateway answers to an order.
const AskAHost = "a gateway does not change secrets: ask a room host"

// secretStep is an order as it goes to one node. Secret is the one to add.
type secretStep struct {
	Do     string `json:"do"`
	ID     string `json:"id,omitempty"`
	Secret string `json:"secret,omitempty"`
}

const secretsWithin = 5 * time.Second // for all nodes' answers to a step

// serveSecrets lets operators change the cluster's secret, by a host: what a
// gateway says of it is taken by nobody.
func (a *admin) serveSecrets(ops *Ops) {
	a.Mesh.Only(directory.RoleHost.String(), callSecrets)
	a.Mesh.OnCall(callSecrets, func(_ context.Context, from *link.Link, body []byte) ([]byte, error) {
		var s secretStep
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, wire.Refuse(wire.CodeBadRequest, "step: "+err.Error())
		}
		a.log.Info().Str("audit", "secrets "+s.Do).Str("by_node", from.Peer()).Str("id", s.ID).Msg("operator's request passed on")
		ids, err := a.Keys.step(s)
		if err != nil {
			return nil, err
		}
		return json.Marshal(ids)
	})
	ops.Handle("GET /v1/secrets", a.handler(func(r *http.Request) (any, error) {
		return a.allSecrets(r.Context()), nil
	}))
	ops.HandleRole(RoleDestroy, "POST /v1/secrets", a.handler(func(r *http.Request) (any, error) {
		var o SecretsOrder
		if err := readRequest(r, &o); err != nil {
			return nil, err
		}
		if n := a.Members.View().Node(a.ID); n == nil || n.Role != directory.RoleHost {
			return nil, wire.Refuse(wire.CodeBadRequest, AskAHost)
		}
		return a.changeSecrets(r.Context(), o)
	}))
}

// allSecrets is what all nodes hold.
func (a *admin) allSecrets(ctx context.Context) SecretsAnswer {
	o := a.overview(ctx, a.report())
	res := SecretsAnswer{Nodes: []NodeSecrets{}, Asked: o.Asked, Answered: o.Answered, Missing: []explain.Missing{}}
	for _, n := range slices.Concat(o.Hosts, o.Gateways) {
		res.Nodes = append(res.Nodes, NodeSecrets{Node: n.Node, Role: n.Role, Secrets: n.Secrets})
	}
	for _, m := range o.Missing {
		res.Missing = append(res.Missing, explain.Missing{Node: m.Node, Role: m.Role, Why: m.Error})
	}
	return res
}

// changeSecrets has all nodes take a step, if all of them are ready for it.
func (a *admin) changeSecrets(ctx context.Context, o SecretsOrder) (SecretsAnswer, error) {
	nodes := a.Members.View().Nodes
	overview := a.overview(ctx, a.report())
	if len(overview.Missing) > 0 {
		m := overview.Missing[0]
		return SecretsAnswer{}, wire.Refuse(wire.CodeBusy, fmt.Sprintf("%s does not answer (%s): a step is for all nodes at once", m.Node, m.Error))
	}
	all := slices.Concat(overview.Hosts, overview.Gateways)
	s, err := a.Keys.plan(o, all)
	if err != nil {
		return SecretsAnswer{}, err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return SecretsAnswer{}, fmt.Errorf("encode step: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, secretsWithin)
	defer cancel()
	res := SecretsAnswer{ID: s.ID, Nodes: []NodeSecrets{}, Asked: len(nodes), Missing: []explain.Missing{}}
	for _, got := range askAll(ctx, nodes, func(n *directory.Node) (ids []string, err error) {
		if n.ID == a.ID {
			return a.Keys.step(s)
		}
		l, err := a.reach(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("reach %s: %w", n.ID.Name(), err)
		}
		reply, err := l.Call(ctx, callSecrets, raw)
		if err != nil {
			return nil, err
		}
		return ids, json.Unmarshal(reply, &ids)
	}) {
		if got.err != nil {
			res.Missing = append(res.Missing, got.missing())
			continue
		}
		res.Answered++
		res.Nodes = append(res.Nodes, NodeSecrets{Node: string(got.node.ID), Role: got.node.Role.String(), Secrets: got.value})
	}
	return res, nil
}

// plan checks that all nodes are ready for an order, and completes it.
func (k *Keyring) plan(o SecretsOrder, all []NodeReport) (s secretStep, err error) {
	if k == nil {
		return s, wire.Refuse(wire.CodeBadRequest, "the cluster has no secret: it needs --cluster-key-file, and a restart")
	}
	refuse := func(n NodeReport, what string) (secretStep, error) {
		return s, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("%s %s %s: see limpet keys", n.Name, what, s.ID))
	}
	s = secretStep{Do: o.Do, ID: o.ID}
	switch o.Do {
	case SecretAdd:
		if o.ID != "" {
			return s, wire.Refuse(wire.CodeBadRequest, "a new secret has no id yet")
		}
		return k.toAdd(all)
	case SecretUse:
		for _, n := range all {
			if !slices.Contains(n.Secrets, o.ID) {
				return refuse(n, "does not take")
			}
		}
	case SecretDrop:
		for _, n := range all {
			if len(n.Secrets) > 0 && n.Secrets[0] == o.ID {
				return refuse(n, "still uses")
			}
		}
	default:
		return s, wire.Refuse(wire.CodeBadRequest, "want add, use or drop")
	}
	return s, nil
}

// toAdd is the step that adds a secret: one that was added somewhere already, and
// is not in use, goes to all before another is made.
func (k *Keyring) toAdd(all []NodeReport) (secretStep, error) {
	for _, own := range k.texts() {
		id, err := secretID(own)
		if err != nil {
			return secretStep{}, err
		}
		if slices.ContainsFunc(all, func(n NodeReport) bool { return !slices.Contains(n.Secrets, id) }) {
			return secretStep{Do: SecretAdd, ID: id, Secret: own}, nil
		}
	}
	for _, n := range all {
		if len(n.Secrets) >= maxSecrets {
			return secretStep{}, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("%s has %d secrets: drop one first", n.Name, len(n.Secrets)))
		}
	}
	var b [32]byte
	rand.Read(b[:])
	secret := hex.EncodeToString(b[:])
	id, err := secretID(secret)
	return secretStep{Do: SecretAdd, ID: id, Secret: secret}, err
}

// step changes the key file, and takes it. It tells the secrets that there are
// then.
func (k *Keyring) step(s secretStep) ([]string, error) {
	if k == nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "this process has no --cluster-key-file")
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	lines, err := readLines(k.path)
	if err != nil {
		return nil, err
	}
	changed, err := changeLines(lines, s)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(lines, changed) {
		if err := replaceFile(k.path, []byte(strings.Join(changed, ""))); err != nil {
			return nil, fmt.Errorf("write --cluster-key-file: %w", err)
		}
	}
	k.look()
	ids := k.IDs()
	if took := slices.Contains(ids, s.ID) == (s.Do != SecretDrop) && (s.Do != SecretUse || ids[0] == s.ID); !took {
		return nil, fmt.Errorf("the file was written, and not taken: see the log")
	}
	return ids, nil
}

// changeLines takes a step on a key file's lines. Nothing changes where it was
// taken before.
func changeLines(lines []string, s secretStep) ([]string, error) {
	at, first, n := -1, -1, 0
	for i, l := range lines {
		secret := secretOf(l)
		if secret == "" {
			continue
		}
		id, err := secretID(secret)
		if err != nil {
			return nil, err
		}
		if n++; first < 0 {
			first = i
		}
		if id == s.ID {
			at = i
		}
	}
	lines = slices.Clone(lines)
	switch {
	case s.Do == SecretAdd && at < 0:
		if id, err := secretID(s.Secret); err != nil || id != s.ID || len(s.Secret) < minSecret || secretOf(s.Secret) != s.Secret || strings.ContainsAny(s.Secret, "\r\n") {
			return nil, wire.Refuse(wire.CodeBadRequest, "that is no secret")
		}
		if end := len(lines) - 1; end >= 0 && !strings.HasSuffix(lines[end], "\n") {
			lines[end] += "\n"
		}
		return append(lines, s.Secret+"\n"), nil
	case s.Do == SecretUse && at < 0:
		return nil, wire.Refuse(wire.CodeBadRequest, "no such secret here")
	case s.Do == SecretUse && at > first:
		line := strings.TrimSuffix(lines[at], "\n") + "\n"
		return slices.Insert(slices.Delete(lines, at, at+1), first, line), nil
	case s.Do == SecretDrop && at >= 0 && at == first:
		return nil, wire.Refuse(wire.CodeBadRequest, "that secret is in use here")
	case s.Do == SecretDrop && at >= 0:
		return slices.Delete(lines, at, at+1), nil
	}
	return lines, nil
}

// texts are the secrets in the key file.
func (k *Keyring) texts() (all []string) {
	lines, _ := readLines(k.path) // one that can't be read has none to add
	for _, l := range lines {
		if secret := secretOf(l); secret != "" {
			all = append(all, secret)
		}
	}
	return all
}
