// Command gorilla is a baseline: a room server in one process on
// gorilla/websocket, as a careful Go developer writes it. A goroutine owns each
// room; a connection has one to read and one to write; a broadcast is prepared
// once. It has no resume, no numbering, no checkpoints and no second process.
package main

import (
	"flag"
	"log"
	"net/http"
	_ "net/http/pprof"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/limpet-games/limpet/bench/state"
	"github.com/limpet-games/limpet/internal/daemon"
)

var (
	listen   = flag.String("listen", "127.0.0.1:8080", "address for players")
	ops      = flag.String("ops", "", "address of /metrics and profiles")
	tick     = flag.Int("tick", 20, "states a second")
	size     = flag.Int("size", 256, "bytes of a state")
	messages = flag.Int("messages", 1, "messages of a tick")
	echo     = flag.Bool("echo", false, "answer inputs and don't tick")
	cert     = flag.String("cert", "", "certificate in PEM, for TLS")
	key      = flag.String("key", "", "its key")
)

const (
	sendQueue  = 64
	writeWait  = 10 * time.Second
	bufferSize = 1 << 10
)

var upgrader = websocket.Upgrader{
	ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
	CheckOrigin: func(*http.Request) bool { return true },
}

type server struct {
	mu    sync.Mutex
	rooms map[string]*room
}

func main() {
	flag.Parse()
	s := &server{rooms: map[string]*room{}}
	if *ops != "" {
		http.Handle("/metrics", promhttp.HandlerFor(daemon.NewRegistry("gorilla"), promhttp.HandlerOpts{})) // the same as gatewayd's
		go func() { log.Fatal(http.ListenAndServe(*ops, nil)) }()
	}
	if *cert != "" {
		log.Fatal(http.ListenAndServeTLS(*listen, *cert, *key, s))
	}
	log.Fatal(http.ListenAndServe(*listen, s))
}

// ServeHTTP takes a player into the room that the path names.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	rm := s.room(r.URL.Path)
	c := &client{room: rm, ws: ws, send: make(chan *websocket.PreparedMessage, sendQueue)}
	rm.join <- c
	go c.write()
	c.read()
}

func (s *server) room(name string) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	rm := s.rooms[name]
	if rm == nil {
		rm = &room{join: make(chan *client), leave: make(chan *client), inputs: make(chan input, 256),
			clients: map[*client]struct{}{}, state: state.NewRoom(*size)}
		s.rooms[name] = rm
		go rm.run(time.Duration(len(s.rooms)) * 7919 * time.Microsecond)
	}
	return rm
}

type input struct {
	from *client
	data []byte
}

// room is owned by its run.
type room struct {
	join, leave chan *client
	inputs      chan input
	clients     map[*client]struct{}
	state       *state.Room
}

// run ticks at a phase of its own, so that rooms don't tick all at once.
func (r *room) run(phase time.Duration) {
	every := time.Second / time.Duration(*tick)
	time.Sleep(phase % every)
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case c := <-r.join:
			r.clients[c] = struct{}{}
		case c := <-r.leave:
			r.drop(c)
		case in := <-r.inputs:
			r.input(in)
		case <-ticks.C:
			r.tick(time.Now())
		}
	}
}

func (r *room) input(in input) {
	if !*echo {
		r.state.Input(in.data)
		return
	}
	if m, err := websocket.NewPreparedMessage(websocket.BinaryMessage, in.data); err == nil {
		r.send(in.from, m)
	}
}

func (r *room) tick(now time.Time) {
	if *echo || len(r.clients) == 0 {
		return
	}
	for range *messages {
		p := append([]byte(nil), r.state.Next(now.UnixNano())...)
		m, err := websocket.NewPreparedMessage(websocket.BinaryMessage, p)
		if err != nil {
			log.Fatal(err)
		}
		for c := range r.clients {
			r.send(c, m)
		}
	}
}

// send drops a client that does not keep up.
func (r *room) send(c *client, m *websocket.PreparedMessage) {
	select {
	case c.send <- m:
	default:
		r.drop(c)
	}
}

func (r *room) drop(c *client) {
	if _, ok := r.clients[c]; ok {
		delete(r.clients, c)
		close(c.send)
	}
}

type client struct {
	room *room
	ws   *websocket.Conn
	send chan *websocket.PreparedMessage
}

func (c *client) read() {
	defer func() { c.room.leave <- c }()
	c.ws.SetReadLimit(4 << 10)
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		c.room.inputs <- input{c, data}
	}
}

func (c *client) write() {
	defer c.ws.Close()
	for m := range c.send {
		c.ws.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.ws.WritePreparedMessage(m); err != nil {
			return
		}
	}
}
