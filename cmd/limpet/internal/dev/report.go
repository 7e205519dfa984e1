package dev

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
)

// report waits until every node is ready, tells where things are, and then
// has nothing more to do until ctx is done.
func (c *Cluster) report(ctx context.Context) error {
	if err := c.writeState(false); err != nil {
		return err
	}
	begun := time.Now()
	if !c.waitReady(ctx) {
		return nil
	}
	if err := c.writeState(true); err != nil {
		return err
	}
	c.out.Print(c.banner(time.Since(begun)))
	<-ctx.Done()
	c.out.Print("\nStopping; rooms are saved to " + c.store() + "\n")
	return nil
}

// slowStart is when to say what the start waits for.
const slowStart = 10 * time.Second

// waitReady asks every node until all are ready; false: ctx was done first.
func (c *Cluster) waitReady(ctx context.Context) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	complain := time.After(slowStart)
	for {
		waiting := c.notReady(ctx, client)
		if len(waiting) == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-complain:
			c.out.Event("dev", "still waiting for %s; logs are in %s", strings.Join(waiting, ", "), c.path("logs"))
			complain = time.After(slowStart)
		case <-poll.C:
		}
	}
}

func (c *Cluster) notReady(ctx context.Context, client *http.Client) (names []string) {
	for _, ch := range c.children() {
		if !ready(ctx, client, "http://"+ch.ports.ops) {
			names = append(names, ch.name)
		}
	}
	return names
}

func ready(ctx context.Context, client *http.Client, ops string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (c *Cluster) store() string {
	if c.cfg.Redis != "" {
		return "Redis"
	}
	return c.path("store")
}

// banner tells where things are and what to try.
func (c *Cluster) banner(took time.Duration) string {
	var b strings.Builder
	t := c.out
	row := func(what, value string) { fmt.Fprintf(&b, "  %s %s\n", t.style(dim, fmt.Sprintf("%-9s", what)), value) }
	fmt.Fprintf(&b, "\n%s %s, ready in %.1f s\n\n", t.style(bold, "limpet dev"), daemon.Version(), took.Seconds())
	row("demo", t.style(bold, c.demo()))
	row("console", t.style(bold, "http://"+c.gateways[0].ports.ops+"/console/"))
	for _, ch := range c.gateways {
		row(ch.name, fmt.Sprintf("ws://%s  pid %d", ch.ports.players, ch.pid()))
	}
	for _, ch := range c.hosts {
		row(ch.name, fmt.Sprintf("pid %d", ch.pid()))
	}
	row("store", c.store())
	row("logs", c.path("logs"))
	fmt.Fprintf(&b, "\nTry\n")
	tries := c.suggestions()
	width := 0
	for _, s := range tries {
		width = max(width, len(s[0]))
	}
	for _, s := range tries {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, s[0], t.style(dim, s[1]))
	}
	fmt.Fprintf(&b, "\nCtrl-C ends all of it.\n\n")
	return b.String()
}

func (c *Cluster) suggestions() [][2]string {
	room := "chat/lobby"
	if c.cfg.Roomd != "" {
		room = "KIND/ROOM"
	}
	data := ""
	if d, err := DefaultData(); err == nil && d != c.cfg.Data {
		data = " --data " + c.cfg.Data
	}
	tries := [][2]string{
		{c.cfg.Command + " join " + joinGateway(c, data) + room, "each line you type is one input"},
		{c.cfg.Command + " ps" + data, "who runs what"},
		{fmt.Sprintf("kill -9 %d", c.hosts[0].pid()), c.hosts[0].name + " dies; its rooms go on elsewhere"},
	}
	if c.cfg.Roomd == "" {
		tries = append([][2]string{{"open the demo in two windows", "and press its buttons"}}, tries...)
	}
	return tries
}

// joinGateway is the flag that join needs where the cluster is not the one it
// looks for by itself.
func joinGateway(c *Cluster, data string) string {
	if data == "" {
		return ""
	}
	return "--gateway ws://" + c.gateways[0].ports.players + " "
}
