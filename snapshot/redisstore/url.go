package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Settings are what a URL says beside where the server is.
type Settings struct {
	Prefix        string
	AllowEviction bool
	WaitReplicas  int
}

// ParseURL reads
//
//	redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...][/DB][?NAME=VALUE&...]
//
// with rediss for TLS. One host alone is a server. With master_name=NAME the
// hosts are Sentinels (port 26379 unless said) that know it; sentinel_username
// and sentinel_password are for them. With cluster=true the hosts are any nodes
// of a Cluster, which has no DB but 0. Further: prefix=TEXT ahead of all keys,
// allow_eviction=true, wait_replicas=N. Errors hold no password.
func ParseURL(raw string) (*redis.UniversalOptions, Settings, error) {
	o, set, err := parseURL(raw)
	if err != nil {
		return nil, Settings{}, fmt.Errorf("redis URL: %w", err)
	}
	return o, set, nil
}

func parseURL(raw string) (*redis.UniversalOptions, Settings, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return nil, Settings{}, errors.New("want redis://HOST:PORT or rediss://HOST:PORT")
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, db, _ := strings.Cut(rest, "/")
	o := &redis.UniversalOptions{}
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		if err := userinfo(o, hosts[:at]); err != nil {
			return nil, Settings{}, err
		}
		hosts = hosts[at+1:]
	}
	set, err := parameters(o, query)
	if err != nil {
		return nil, Settings{}, err
	}
	if err := addresses(o, hosts); err != nil {
		return nil, Settings{}, err
	}
	if err := database(o, db); err != nil {
		return nil, Settings{}, err
	}
	if scheme == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if host, _, err := net.SplitHostPort(o.Addrs[0]); err == nil && len(o.Addrs) == 1 && o.MasterName == "" {
			o.TLSConfig.ServerName = host
		}
	}
	return o, set, nil
}

func userinfo(o *redis.UniversalOptions, s string) error {
	user, password, _ := strings.Cut(s, ":")
	var err1, err2 error
	o.Username, err1 = url.PathUnescape(user)
	o.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("user or password is not percent-encoded as it should be")
	}
	return nil
}

func addresses(o *redis.UniversalOptions, hosts string) error {
	port := "6379"
	if o.MasterName != "" {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := address(host, port)
		if err != nil {
			return err
		}
		o.Addrs = append(o.Addrs, addr)
	}
	if len(o.Addrs) > 1 && o.MasterName == "" && !o.IsClusterMode {
		return errors.New("several hosts: say cluster=true, or master_name=NAME for Sentinels")
	}
	return nil
}

// address adds the port to a host, an IPv4 address or an IPv6 one in brackets.
func address(host, port string) (string, error) {
	bracketed := strings.HasPrefix(host, "[")
	if !bracketed && !strings.Contains(host, ":") || bracketed && strings.HasSuffix(host, "]") {
		host += ":" + port
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" {
		return "", fmt.Errorf("host %q: want HOST or HOST:PORT", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("host %q: port %q: want 1 to 65535", host, port)
	}
	return net.JoinHostPort(name, port), nil
}

func database(o *redis.UniversalOptions, db string) error {
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 16)
	if err != nil {
		return fmt.Errorf("database %q: want a number", db)
	}
	if o.IsClusterMode && n != 0 {
		return fmt.Errorf("database %d: a Cluster has 0 alone", n)
	}
	o.DB = int(n)
	return nil
}

func parameters(o *redis.UniversalOptions, query string) (Settings, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return Settings{}, errors.New("parameters are not percent-encoded as they should be")
	}
	var set Settings
	for name, all := range values {
		v := all[len(all)-1]
		var err error
		switch name {
		case "master_name":
			o.MasterName = v
		case "sentinel_username":
			o.SentinelUsername = v
		case "sentinel_password":
			o.SentinelPassword = v
		case "prefix":
			set.Prefix, err = v, checkPrefix(v)
		case "cluster":
			o.IsClusterMode, err = truth(name, v)
		case "allow_eviction":
			set.AllowEviction, err = truth(name, v)
		case "wait_replicas":
			set.WaitReplicas, err = replicas(name, v)
		default:
			err = fmt.Errorf("unknown parameter %q: want master_name, sentinel_username, sentinel_password, cluster, prefix, allow_eviction or wait_replicas", name)
		}
		if err != nil {
			return Settings{}, err
		}
	}
	if o.IsClusterMode && o.MasterName != "" {
		return Settings{}, errors.New("cluster and master_name exclude each other")
	}
	if o.IsClusterMode && set.WaitReplicas > 0 { // a pipeline's WAIT would go to any node
		return Settings{}, errors.New("cluster and wait_replicas exclude each other: use min-replicas-to-write there")
	}
	return set, nil
}

func replicas(name, v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 4)
	if err != nil {
		return 0, fmt.Errorf("%s %q: want a number from 0 to 15", name, v)
	}
	return int(n), nil
}

func truth(name, v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s %q: want true or false", name, v)
	}
	return b, nil
}
