package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// TestConcurrent makes snapshots while others are read, installed, received and deleted: what
// was opened stays whole until it is closed, and in the end there is one.
func TestConcurrent(t *testing.T) {
	const rounds, readers = 40, 3
	files := enginetest.NewDisk()
	must(t, small(1).lay(files, "live"))
	s := open(t, files, "snapshots")
	_, err := takeOf(s, "live", 500)
	must(t, err)
	there := enginetest.NewDisk()
	to := open(t, there, "to")
	ended := make(chan struct{})
	errs := make(chan error, readers+1)
	var wg sync.WaitGroup
	for n := range readers {
		wg.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := readNewest(s, to, n == 0); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer close(ended)
		for i := range uint64(rounds) {
			if _, err := takeOf(s, "live", 501+i); err != nil {
				errs <- err
				return
			}
			s.Progress()
			to.Oldest()
			if oldest := s.Oldest(); oldest == 0 || oldest > 501+i {
				errs <- fmt.Errorf("the oldest is %d after %d", oldest, 501+i)
				return
			}
		}
	})
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	m, id := s.Newest()
	if m.Index != 500+rounds || s.Oldest() != m.Index {
		t.Fatalf("the newest is %d, the oldest %d", m.Index, s.Oldest())
	}
	clean(t, files, "snapshots", id)
	must(t, look(t, files, "snapshots/"+id+"/data").same(small(1)))
	to.Oldest()
	_, id = to.Newest()
	clean(t, there, "to", id)
}

// readNewest opens what is the newest snapshot at the moment, and installs it or has another
// store receive it.
func readNewest(s, to *Store, install bool) error {
	list, err := s.List()
	if err != nil || len(list) == 0 {
		return fmt.Errorf("no snapshot at all (%v)", err)
	}
	meta, source, err := s.Open(list[0].ID)
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return nil // there is a newer one by now
	} else if err != nil {
		return err
	}
	r, _ := Of(source)
	if install { // the state machine of this node
		err = Install(context.Background(), r, "installed", nil)
	} else {
		k, e := to.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
		if err = e; err == nil {
			_, err = io.Copy(k, source)
			err = errors.Join(err, k.Close())
		}
	}
	return errors.Join(err, source.Close())
}
