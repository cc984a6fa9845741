package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v3/process"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// recovery measures how soon a waiter holds what a dead holder left, for each
// kind of death that is found out by evidence.
func (b *bench) recovery() error {
	const rounds = 5
	for _, version := range []string{engine.Old, engine.New} {
		e, err := engine.Start(version)
		if err != nil {
			return err
		}
		defer e.Stop()
		s := contend.Store{Name: version, Engine: e}
		for _, death := range contend.Deaths(s) {
			var times []time.Duration
			for range rounds {
				took, err := oneRecovery(s, death)
				if err != nil {
					return err
				}
				times = append(times, took)
			}
			slices.Sort(times)
			fmt.Printf("engine %s: %s: the next one holds after p50 %s, max %s, %d times (target 3000)\n",
				version, death.Name, ms(times[len(times)/2]), ms(times[len(times)-1]), len(times))
		}
		for _, c := range []struct{ waiters, killed int }{{32, 24}, {256, 40}, {256, 255}} {
			if err := crowdRecovery(s, c.waiters, c.killed); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneRecovery(s contend.Store, death contend.Death) (time.Duration, error) {
	r, err := contend.NewRig(s)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	recovery, err := death.Recover(r, nil)
	return recovery.Took, err
}

// crowdRecovery kills a holder and the first of those who wait, at once.
func crowdRecovery(s contend.Store, waiters, killed int) error {
	r, err := contend.NewRig(s)
	if err != nil {
		return err
	}
	defer r.Close()
	holder, err := contend.Deaths(s)[0].Hold(r)
	if err != nil {
		return err
	}
	defer holder.End()
	queue := make([]*contend.Waiter, waiters)
	for i := range queue {
		w, err := r.Wait(nil)
		if err != nil {
			return err
		}
		defer w.Kill()
		if err := w.Await("position", time.Minute); err != nil {
			return err
		}
		queue[i] = w
	}
	daemon, err := process.NewProcess(int32(s.Engine.PID()))
	if err != nil {
		return err
	}
	used, err := cores(daemon) // by then they are idle
	if err != nil {
		return err
	}
	start := time.Now()
	for _, w := range queue[:killed] {
		w.Kill()
	}
	if err := holder.Die(); err != nil {
		return err
	}
	at, err := queue[killed].Holds(time.Minute)
	if err != nil {
		return err
	}
	fmt.Printf("engine %s: the holder and the first %d of %d waiters are killed: the next one holds after %s (target "+
		"3000); while they wait the daemon uses %.2f %% of a core\n",
		s.Name, killed, waiters, ms(at.Sub(start)), 100*used[0])
	return nil
}
