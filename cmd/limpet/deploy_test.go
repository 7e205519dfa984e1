package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	deployDir  = root + "/deploy"
	graceAbove = 15 * time.Second // drain or spread
)

func readDeploy(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployDir, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// documents are a YAML file's, as plain maps.
func documents(t *testing.T, path string) (docs []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(readDeploy(t, path)))
	for {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		docs = append(docs, doc)
	}
}

// dig walks down maps and lists: "spec", 0, "name".
func dig(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[p] == nil {
				t.Fatalf("nothing at %q of %v", p, path)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || len(l) <= p {
				t.Fatalf("nothing at %d of %v", p, path)
			}
			v = l[p]
		}
	}
	return v
}

// setting is a flag or a variable of a process, as a deploy file gives it.
type setting struct{ name, value string }

// settings of a process: its arguments, and its environment's LIMPET_ variables.
func argSettings(args []string) (all []setting) {
	for i, a := range args {
		name, value, has := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "--") {
			continue
		}
		if !has && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			value = args[i+1]
		}
		all = append(all, setting{strings.TrimPrefix(name, "--"), value})
	}
	return all
}

func envSetting(name, value string) (setting, bool) {
	flag, ok := strings.CutPrefix(name, "LIMPET_")
	return setting{strings.ReplaceAll(strings.ToLower(flag), "_", "-"), value}, ok
}

// checkSettings holds what a file gives a program against the program's flags,
// and its grace against what the program takes to end.
func checkSettings(t *testing.T, what, program string, given []setting, grace, more time.Duration) {
	t.Helper()
	help := helpOf(t, program)
	took := map[string]string{"roomd": "drain-deadline", "gatewayd": "drain-spread"}[program]
	var ends time.Duration
	for _, s := range given {
		if !regexp.MustCompile(`(?m)^  --` + regexp.QuoteMeta(s.name) + `( |$)`).MatchString(help) {
			t.Errorf("%s: %s has no flag --%s", what, program, s.name)
		}
		if s.name == took {
			d, err := time.ParseDuration(s.value)
			if err != nil {
				t.Errorf("%s: --%s %s: %v", what, s.name, s.value, err)
			}
			ends = d
		}
	}
	if ends == 0 {
		t.Errorf("%s does not say --%s: its grace can't be told to fit", what, took)
	}
	if grace < ends+more+graceAbove {
		t.Errorf("%s: %s to end, but --%s %s and %s more come to %s", what, grace, took, ends, more+graceAbove, ends+more+graceAbove)
	}
}

func TestSystemdUnitsFitThePrograms(t *testing.T) {
	for program, example := range map[string]string{"roomd": "host-1.env", "gatewayd": "gateway-1.env"} {
		name := "systemd/limpet-" + program + "@.service"
		unit := readDeploy(t, name)
		value := func(key string) string {
			m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
			if m == nil {
				t.Fatalf("%s has no %s=", name, key)
			}
			return m[1]
		}
		args := strings.Fields(value("ExecStart"))
		if filepath.Base(args[0]) != program || value("Type") != "notify" {
			t.Errorf("%s runs %s as %s", name, args[0], value("Type"))
		}
		if program == "roomd" && value("ExecReload") != "/bin/kill -USR2 $MAINPID" {
			t.Errorf("%s reloads by %s", name, value("ExecReload"))
		}
		given := argSettings(args)
		for _, file := range []string{"limpet.env", example} {
			for line := range strings.Lines(readDeploy(t, "systemd/"+file)) {
				if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				key, v, _ := strings.Cut(line, "=")
				s, ok := envSetting(key, v)
				if !ok {
					t.Errorf("systemd/%s: %s is no setting", file, key)
				}
				given = append(given, s)
			}
		}
		grace, err := time.ParseDuration(value("TimeoutStopSec"))
		if err != nil {
			t.Fatal(err)
		}
		checkSettings(t, name, program, given, grace, 0)
	}
}

// TestSystemdTakesTheUnits asks systemd itself, where it is there; elsewhere the
// test above is all.
func TestSystemdTakesTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze here: the units are not put to it")
		return
	}
	dir := t.TempDir()
	var units []string
	for _, program := range []string{"roomd", "gatewayd"} {
		// The programs need not be installed, nor the user be there.
		unit := strings.ReplaceAll(readDeploy(t, "systemd/limpet-"+program+"@.service"), "/usr/local/bin/"+program, "/bin/true")
		path := filepath.Join(dir, "limpet-"+program+"@.service")
		if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, filepath.Join(dir, "limpet-"+program+"@node-1.service"))
		if err := os.Symlink(path, units[len(units)-1]); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("limpet-")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestKubernetesManifestsFitThePrograms(t *testing.T) {
	shared := dig(t, documents(t, "kubernetes/common.yaml")[0], "data").(map[string]any)
	for program, file := range map[string]string{"roomd": "hosts", "gatewayd": "gateways"} {
		doc := documents(t, "kubernetes/"+file+".yaml")[0]
		pod := dig(t, doc, "spec", "template", "spec")
		c := dig(t, pod, "containers", 0)
		if got := dig(t, c, "command", 0); filepath.Base(got.(string)) != program {
			t.Errorf("%s runs %v", file, got)
		}
		var args []string
		for _, a := range dig(t, c, "args").([]any) {
			args = append(args, a.(string))
		}
		given := argSettings(args)
		for k, v := range shared {
			s, _ := envSetting(k, v.(string))
			given = append(given, s)
		}
		for _, e := range dig(t, c, "env").([]any) {
			value, _ := e.(map[string]any)["value"].(string)
			s, ok := envSetting(dig(t, e, "name").(string), value)
			if !ok {
				t.Errorf("%s: %v is no setting", file, e)
			}
			given = append(given, s)
		}
		var before time.Duration
		if program == "gatewayd" {
			before = time.Duration(dig(t, c, "lifecycle", "preStop", "sleep", "seconds").(int)) * time.Second
		}
		grace := time.Duration(dig(t, pod, "terminationGracePeriodSeconds").(int)) * time.Second
		checkSettings(t, "kubernetes/"+file+".yaml", program, given, grace, before)
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			want := "/healthz"
			if probe == "readinessProbe" {
				want = "/readyz"
			}
			if got := dig(t, c, probe, "httpGet", "path"); got != want {
				t.Errorf("%s: %s asks %v", file, probe, got)
			}
		}
		labels := dig(t, doc, "spec", "template", "metadata", "labels", "app")
		if got := dig(t, doc, "spec", "selector", "matchLabels", "app"); got != labels {
			t.Errorf("%s selects %v, its pods are %v", file, got, labels)
		}
	}
	budgets := 0
	for _, doc := range documents(t, "kubernetes/common.yaml") {
		if doc["kind"] == "PodDisruptionBudget" {
			budgets++
		}
	}
	if budgets != 2 {
		t.Errorf("%d disruption budgets, want 2", budgets)
	}
}

func TestComposeFileFitsThePrograms(t *testing.T) {
	services := dig(t, documents(t, "compose/compose.yaml")[0], "services").(map[string]any)
	count := map[string]int{}
	for name, s := range services {
		entry, _ := s.(map[string]any)["entrypoint"].(string)
		program := filepath.Base(entry)
		if entry == "" {
			continue
		}
		count[program]++
		var given []setting
		for k, v := range dig(t, s, "environment").(map[string]any) {
			set, ok := envSetting(k, fmt.Sprint(v))
			if !ok {
				t.Errorf("%s: %s is no setting", name, k)
			}
			given = append(given, set)
		}
		grace, err := time.ParseDuration(dig(t, s, "stop_grace_period").(string))
		if err != nil {
			t.Fatal(err)
		}
		checkSettings(t, "compose "+name, program, given, grace, 0)
	}
	if count["roomd"] < 2 || count["gatewayd"] < 2 {
		t.Errorf("services run %v", count)
	}
}

var metricName = regexp.MustCompile(`\b(limpet_[a-z0-9_]+|process_[a-z0-9_]+)\b`)

// unknownMetrics are the names in an expression that no program has.
func unknownMetrics(expr string, known map[string]bool) (unknown []string) {
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 && !strings.Contains(expr, "up{") {
		return []string{"(no metric in " + expr + ")"}
	}
	for _, n := range names {
		base := n
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if known[strings.TrimSuffix(n, suffix)] {
				base = strings.TrimSuffix(n, suffix)
			}
		}
		if !known[base] && !strings.HasPrefix(n, "process_") {
			unknown = append(unknown, n)
		}
	}
	return unknown
}

func TestAlertsUseMetricsThatThereAreAndAreInTheRunbook(t *testing.T) {
	known := metricNames(t)
	raw, err := os.ReadFile(root + "/docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^### (Limpet[A-Za-z]+)$`).FindAllStringSubmatch(string(raw), -1) {
		explained = append(explained, m[1])
	}
	var alerts []string
	for _, g := range dig(t, documents(t, "prometheus/alerts.yaml")[0], "groups").([]any) {
		for _, r := range dig(t, g, "rules").([]any) {
			name := dig(t, r, "alert").(string)
			alerts = append(alerts, name)
			if bad := unknownMetrics(dig(t, r, "expr").(string), known); bad != nil {
				t.Errorf("%s: no metric %v", name, bad)
			}
			if s := dig(t, r, "labels", "severity"); s != "page" && s != "ticket" {
				t.Errorf("%s has severity %v", name, s)
			}
			dig(t, r, "annotations", "summary")
		}
	}
	slices.Sort(alerts)
	slices.Sort(explained)
	if !slices.Equal(alerts, explained) || len(alerts) < 10 {
		t.Errorf("alerts  %v\nrunbook %v", alerts, explained)
	}
	for _, n := range metricName.FindAllString(string(raw), -1) {
		if !known[n] {
			t.Errorf("the runbook speaks of %s, which there is not", n)
		}
	}
	if unknownMetrics("rate(limpet_no_such_total[5m])", known) == nil {
		t.Error("a metric that there is not passes")
	}
}

func TestDashboardUsesMetricsThatThereAre(t *testing.T) {
	known := metricNames(t)
	var d struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readDeploy(t, "grafana/limpet.json")), &d); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q has the id of another", p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if bad := unknownMetrics(target.Expr, known); bad != nil {
				t.Errorf("panel %q: no metric %v", p.Title, bad)
			}
		}
	}
	if len(d.Panels) < 20 {
		t.Errorf("%d panels", len(d.Panels))
	}
}

func TestScrapeConfigParses(t *testing.T) {
	for _, job := range dig(t, documents(t, "prometheus/scrape.yaml")[0], "scrape_configs").([]any) {
		if name := dig(t, job, "job_name").(string); !strings.HasPrefix(name, "limpet") {
			t.Errorf("job %s is not what the alerts select", name)
		}
		dig(t, job, "static_configs", 0, "targets", 0)
	}
}
