package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ExitUsage is the exit status for a bad flag, variable or setting.
const ExitUsage = 2

// Flags is a program's settings: each is a flag, else its environment twin
// (--ops-token-file has LIMPET_OPS_TOKEN_FILE), else its default. An empty
// variable counts as unset. Not for concurrent use.
type Flags struct {
	Out, Err io.Writer           // where help and errors go
	Env      func(string) string // os.Getenv, unless set before Parse

	program, about string
	set            *flag.FlagSet
	order          []*setting
	usage          string // names the operands; "" for none
	least, most    int    // how many
	operands       []string
}

type setting struct {
	name, help, kind string
	from             string // "flag", "environment" or "default"; filled by Parse
}

// NewFlags makes the settings of a program; about says in a few paragraphs what the
// program does.
func NewFlags(program, about string) *Flags {
	f := &Flags{
		Out: os.Stdout, Err: os.Stderr, Env: os.Getenv,
		program: program, about: about,
		set: flag.NewFlagSet(program, flag.ContinueOnError),
	}
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	return f
}

// Operands has the program take arguments that are no flags, from least to most
// of them; usage names them. They may stand ahead of the flags, between them and
// behind; what follows "--" are operands.
func (f *Flags) Operands(usage string, least, most int) {
	f.usage, f.least, f.most = usage, least, most
}

// Args are the operands.
func (f *Flags) Args() []string { return f.operands }

// value is a flag.Value made of a parser.
type value struct {
	text string
	bool bool
	set  func(string) error
}

func (v *value) String() string     { return v.text }
func (v *value) IsBoolFlag() bool   { return v.bool }
func (v *value) Set(s string) error { v.text = s; return v.set(s) }

func (f *Flags) add(name, kind, def, help string, isBool bool, set func(string) error) *value {
	f.order = append(f.order, &setting{name: name, help: help, kind: kind})
	v := &value{text: def, bool: isBool, set: set}
	f.set.Var(v, name, help)
	return v
}

// String adds a setting that holds text; every check must accept it.
func (f *Flags) String(p *string, name, def, kind, help string, checks ...func(string) error) {
	*p = def
	f.add(name, kind, def, help, false, func(s string) error {
		for _, check := range checks {
			if err := check(s); err != nil {
				return err
			}
		}
		*p = s
		return nil
	})
}

// List adds a setting that may be given several times or with commas. What a
// flag says replaces what the environment says.
func (f *Flags) List(p *[]string, name, kind, help string, checks ...func(string) error) {
	var have []string
	var v *value
	v = f.add(name, kind, "", help+"; may repeat, or be a list with commas", false, func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			for _, check := range checks {
				if err := check(part); err != nil {
					return err
				}
			}
			have = append(have, part)
		}
		*p, v.text = have, strings.Join(have, ",")
		return nil
	})
}

// Int adds a whole number from low to top.
func (f *Flags) Int(p *int, name string, def, low, top int, help string) {
	*p = def
	f.add(name, "N", strconv.Itoa(def), help, false, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > top {
			return fmt.Errorf("%q: want a whole number from %d to %d", s, low, top)
		}
		*p = n
		return nil
	})
}

// Duration adds a time from low to top, written like 1.5s or 2m.
func (f *Flags) Duration(p *time.Duration, name string, def, low, top time.Duration, help string) {
	*p = def
	f.add(name, "TIME", def.String(), help, false, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < low || d > top {
			return fmt.Errorf("%q: want a time from %s to %s, like 1.5s", s, low, top)
		}
		*p = d
		return nil
	})
}

// Bool adds a switch.
func (f *Flags) Bool(p *bool, name, help string) {
	f.add(name, "", "", help, true, func(s string) error {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q: want true or false", s)
		}
		*p = on
		return nil
	})
}

// EnvName is the environment twin of a flag.
func EnvName(flag string) string {
	return "LIMPET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Parse reads arguments and environment. Where it returns false the process is
// to end with the status: help was asked for, or a value is bad and one line
// has said so.
func (f *Flags) Parse(args []string) (status int, ok bool) {
	err := f.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.Help(f.Out)
		return 0, false
	}
	if err == nil {
		err = f.count()
	}
	if err == nil {
		err = f.readEnv()
	}
	if err != nil {
		return f.Bad(plain(err)), false
	}
	return 0, true
}

// parse sets the flags and gathers the operands. The flag package stops at each
// operand, and behind "--".
func (f *Flags) parse(args []string) error {
	for {
		if err := f.set.Parse(args); err != nil {
			return err
		}
		rest := f.set.Args()
		if len(rest) == 0 {
			return nil
		}
		if read := len(args) - len(rest); read > 0 && args[read-1] == "--" {
			f.operands = append(f.operands, rest...)
			return nil
		}
		f.operands, args = append(f.operands, rest[0]), rest[1:]
	}
}

// count says whether there are as many operands as the program takes.
func (f *Flags) count() error {
	switch n := len(f.operands); {
	case n > f.most:
		return fmt.Errorf("unexpected argument %q", f.operands[f.most])
	case n < f.least:
		return fmt.Errorf("want %s", f.usage)
	}
	return nil
}

// readEnv sets what no flag has set.
func (f *Flags) readEnv() error {
	given := map[string]bool{}
	f.set.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	for _, s := range f.order {
		switch v := f.Env(EnvName(s.name)); {
		case given[s.name]:
			s.from = "flag"
		case v == "":
			s.from = "default"
		default:
			s.from = "environment"
			if err := f.set.Set(s.name, v); err != nil {
				return fmt.Errorf("%s: %w", EnvName(s.name), err)
			}
		}
	}
	return nil
}

// plain words the flag package's errors as this package's help does.
func plain(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return fmt.Errorf("unknown flag --%s", strings.TrimPrefix(name, "-"))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("--%s needs a value", strings.TrimPrefix(name, "-"))
	}
	// invalid value "x" for flag -port: reason; a bool's form differs a little
	for _, start := range []string{"invalid value ", "invalid boolean value "} {
		rest, ok := strings.CutPrefix(text, start)
		if !ok {
			continue
		}
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			rest = strings.TrimPrefix(rest[len(quoted):], " for ")
			return errors.New("--" + strings.TrimPrefix(strings.TrimPrefix(rest, "flag "), "-"))
		}
	}
	return err
}

// Bad reports a setting that can't be, in one line, and returns ExitUsage.
func (f *Flags) Bad(err error) int {
	line := strings.Join(strings.Fields(err.Error()), " ")
	fmt.Fprintf(f.Err, "%s: %s (see %s --help)\n", f.program, line, f.program)
	return ExitUsage
}

// Help writes every setting with its default and its variable.
func (f *Flags) Help(w io.Writer) {
	usage := f.program
	if f.usage != "" {
		usage += " " + f.usage
	}
	for about := range strings.SplitSeq(f.about, "\n\n") {
		if !strings.HasPrefix(about, " ") { // else it is laid out by hand
			about = strings.Join(wrapped(about, helpWidth+6), "\n")
		}
		fmt.Fprintf(w, "%s\n\n", about)
	}
	fmt.Fprintf(w, "Usage: %s [flags]\n", usage)
	if len(f.order) == 0 {
		return
	}
	fmt.Fprintf(w, "\nA flag goes before its environment variable, that before the default.\n")
	for _, s := range f.order {
		head := "--" + s.name
		if s.kind != "" {
			head += " " + s.kind
		}
		def := "none"
		if d := f.set.Lookup(s.name).DefValue; d != "" {
			def = d
		} else if s.kind == "" {
			def = "false"
		}
		fmt.Fprintf(w, "\n  %s\n", head)
		for _, line := range wrapped(s.help, helpWidth) {
			fmt.Fprintf(w, "      %s\n", line)
		}
		fmt.Fprintf(w, "      default %s, variable %s\n", def, EnvName(s.name))
	}
}

const helpWidth = 72

// wrapped breaks text into lines at spaces.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Environment is the settings that are not left at their defaults, as variables
// for another process of the program.
func (f *Flags) Environment() (env []string) {
	for _, s := range f.order {
		if s.from == "flag" || s.from == "environment" {
			env = append(env, EnvName(s.name)+"="+f.set.Lookup(s.name).Value.String())
		}
	}
	return env
}

// Given lists the settings that are not left at their defaults, for the log.
// Passwords in URLs are masked.
func (f *Flags) Given() map[string]string {
	given := map[string]string{}
	for _, s := range f.order {
		if s.from == "flag" || s.from == "environment" {
			given[s.name] = masked(f.set.Lookup(s.name).Value.String())
		}
	}
	return given
}
