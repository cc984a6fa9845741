package main

import (
	"fmt"
	"slices"
	"time"

	"hostguard/e2e/contend"
	"hostguard/e2e/engine"
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
