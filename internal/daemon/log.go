package daemon

import (
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// LogFlags are the settings of a process's log.
type LogFlags struct{ Level, Format string }

// Register adds --log-level and --log-format.
func (l *LogFlags) Register(f *Flags) {
	f.String(&l.Level, "log-level", "info", "LEVEL", "least severe lines to log: debug, info, warn or error",
		OneOf("debug", "info", "warn", "error"))
	f.String(&l.Format, "log-format", "auto", "FORMAT", "json, console, or auto: console on a terminal, else json",
		OneOf("auto", "json", "console"))
}

func init() {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
}

// New makes the log: a line a fact, on w, with the program's and node's names.
func (l LogFlags) New(w io.Writer, program, node string) zerolog.Logger {
	level, err := zerolog.ParseLevel(l.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if l.Format == "console" || l.Format == "auto" && terminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Str("program", program).Str("self", node).Logger()
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// StdLog is the log for code that knows the standard log package alone. Its
// lines are kept at one level, which should be a low one: such code logs what
// a stranger sends it.
func StdLog(l zerolog.Logger, level zerolog.Level) *log.Logger {
	return log.New(lineWriter{l, level}, "", 0)
}

type lineWriter struct {
	log   zerolog.Logger
	level zerolog.Level
}

func (w lineWriter) Write(p []byte) (int, error) {
	w.log.WithLevel(w.level).Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}
