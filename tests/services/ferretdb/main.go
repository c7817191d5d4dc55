// FerretDB, which speaks MongoDB's protocol and keeps everything in a PostgreSQL.
//
// A main package of our own around the part of it that is meant to be embedded: its command needs files that are
// written when it is released, and brings a second place to keep things in that takes longer to compile than all else.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// Set by the linker, from the version in catalog.py.
var version = "unknown"

func main() {
	listen := flag.String("listen", "", "host:port to listen on")
	address := flag.String("postgresql", "", "URL of the database that keeps everything, without who comes")
	shown := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *shown {
		fmt.Printf("ferretdb version v%s\n", version)
		return
	}
	log.SetFlags(0)
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:      ferretdb.ListenerConfig{TCP: *listen},
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Handler:       "postgresql",
		PostgreSQLURL: *address,
	})
	if err != nil {
		log.Fatal(err)
	}
	ending, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.Run(ending); err != nil {
		log.Fatal(err)
	}
}
