package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
	"nightshift/worker/console"
	"nightshift/worker/notify"
)

// lookEvery is how often the daemon looks whether the policy file has changed.
const lookEvery = 2 * time.Second

// followFile puts each edit of the policy file in force, until ctx ends. A file
// with a fault is reported once, and the old one stays. SIGHUP looks at once, and also
// has the users of the embedded NATS read again.
func followFile(ctx context.Context, f *fileFlags, cfg *configs.Config, bus *events.Bus, w *worker.Worker, web *console.Server, told *notify.Notifier, log *zap.Logger) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	fault := "" // of the file as it is
	var writing settling
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hangUp:
			asked = true
		case <-tick.C:
		}
		if asked {
			readUsers(cfg.NATS.UsersFile, bus, log)
		}
		if !asked && fault == "" && !cfg.Changed() {
			continue
		}
		edited, err := f.load()
		if !writing.isOver(edited, err) && !asked {
			continue
		}
		if err == nil && web != nil && edited.Revision != cfg.Revision {
			err = web.Replace(hooks(edited)) // each source with its policies: all of one file
		}
		switch {
		case err == nil && fault == "" && edited.Revision == cfg.Revision:
			if asked {
				log.Info("the policy file is as it was", zap.String("revision", cfg.Revision))
			}
			cfg = edited
		case err == nil:
			fault = ""
			if configs.SettingsDiffer(cfg, edited) {
				log.Warn("settings beside the policies have changed: nats, civo, http, data_dir, workers and verify take effect at the next start")
			}
			told.Replace(notifySettings(edited))
			w.Replace(ctx, &edited.Policies, edited.Revision)
			cfg = edited
		case err.Error() != fault:
			fault = err.Error()
			w.Refuse(ctx, err)
		}
	}
}

// readUsers reads the users of the embedded NATS again.
func readUsers(path string, bus *events.Bus, log *zap.Logger) {
	if path == "" || !bus.OwnsStore() {
		return
	}
	if err := bus.ReadUsers(); err != nil {
		log.Error("the users of NATS stay as they were", zap.Error(err))
		return
	}
	log.Info("the users of NATS are read again", zap.String("file", path))
}

// settling is what a look at the file found: somebody may be writing it still, and
// a file that ends too early can be a valid one, without its last policies or its
// protect.
type settling struct{ last string }

// isOver reports whether a look finds the same as the one before.
func (s *settling) isOver(cfg *configs.Config, err error) bool {
	found := ""
	if err != nil {
		found = err.Error()
	} else {
		found = "revision " + cfg.Revision
	}
	same := found == s.last
	s.last = found
	return same
}
