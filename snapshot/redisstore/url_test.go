package redisstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		url   string
		want  redis.UniversalOptions
		tls   bool
		set   Settings
		panel string // server name for TLS
	}{
		{url: "redis://localhost", want: redis.UniversalOptions{Addrs: []string{"localhost:6379"}}},
		{url: "redis://h:7000/3", want: redis.UniversalOptions{Addrs: []string{"h:7000"}, DB: 3}},
		{url: "redis://:p%40ss@h", want: redis.UniversalOptions{Addrs: []string{"h:6379"}, Password: "p@ss"}},
		{url: "redis://u:a:b@h/", want: redis.UniversalOptions{Addrs: []string{"h:6379"}, Username: "u", Password: "a:b"}},
		{url: "redis://[::1]:7000", want: redis.UniversalOptions{Addrs: []string{"[::1]:7000"}}},
		{url: "redis://[::1]", want: redis.UniversalOptions{Addrs: []string{"[::1]:6379"}}},
		{url: "rediss://h", want: redis.UniversalOptions{Addrs: []string{"h:6379"}}, tls: true, panel: "h"},
		{
			url:  "redis://a:1,b,[::1]:3/2?master_name=m&sentinel_username=su&sentinel_password=sp",
			want: redis.UniversalOptions{Addrs: []string{"a:1", "b:26379", "[::1]:3"}, DB: 2, MasterName: "m", SentinelUsername: "su", SentinelPassword: "sp"},
		},
		{url: "redis://a,b:2?cluster=true", want: redis.UniversalOptions{Addrs: []string{"a:6379", "b:2"}, IsClusterMode: true}},
		{url: "rediss://a?cluster=1&prefix=game-1&allow_eviction=true", want: redis.UniversalOptions{Addrs: []string{"a:6379"}, IsClusterMode: true},
			tls: true, panel: "a", set: Settings{Prefix: "game-1", AllowEviction: true}},
	} {
		o, set, err := ParseURL(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		w := tt.want
		if !slices.Equal(o.Addrs, w.Addrs) || o.DB != w.DB || o.Username != w.Username || o.Password != w.Password ||
			o.MasterName != w.MasterName || o.SentinelUsername != w.SentinelUsername || o.SentinelPassword != w.SentinelPassword ||
			o.IsClusterMode != w.IsClusterMode || set != tt.set || (o.TLSConfig != nil) != tt.tls ||
			tt.tls && o.TLSConfig.ServerName != tt.panel {
			t.Errorf("%s: got %+v, %+v", tt.url, o, set)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	for url, want := range map[string]string{
		"":                                     "want redis://",
		"localhost:6379":                       "want redis://",
		"http://h":                             "want redis://",
		"redis://":                             "want HOST",
		"redis://:6379":                        "want HOST",
		"redis://h:0":                          "port",
		"redis://h:secret":                     "port",
		"redis://a,b":                          "several hosts",
		"redis://a,,b?cluster=true":            "want HOST",
		"redis://h/x":                          "database",
		"redis://h/1?cluster=true":             "a Cluster has 0 alone",
		"redis://h?cluster=maybe":              "want true or false",
		"redis://h?cluster=true&master_name=m": "exclude",
		"redis://h?route_by_latency=true":      "unknown parameter",
		"redis://h?prefix=a{b":                 "prefix",
		"redis://h?prefix=" + strings.Repeat("a", 65): "prefix",
		"redis://u:hunter2%zz@h":                      "percent-encoded",
		"redis://::1":                                 "want HOST",
	} {
		_, _, err := ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://u:p@a:1,b/0?master_name=m&cluster=false&prefix=x")
	f.Add("rediss://[::1]:7000?cluster=true")
	f.Fuzz(func(t *testing.T, url string) {
		o, _, err := ParseURL(url)
		if err == nil && (len(o.Addrs) == 0 || o.DB < 0) {
			t.Errorf("%q: %+v", url, o)
		}
	})
}
