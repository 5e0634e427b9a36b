package suite

import (
	"fmt"
	"testing"
	"time"

	"kshell/test/contract"
)

func TestMany(t *testing.T) {
	inCI(t)
	onEach(t, contract.Many)
}

func TestMany_Flood(t *testing.T) {
	notInCI(t)
	const pods = 20
	value := fmt.Sprint(time.Now().UnixNano()) // tests may run concurrently
	var names []string
	for range pods {
		p := sleeper("")
		p.Labels = map[string]string{"flood": value}
		names = append(names, createPod(t, p))
	}
	for _, name := range names {
		waitForPod(t, name, "ready", isReady)
	}
	onEach(t, func(t *testing.T, p contract.Program) { contract.Flood(t, p, "flood="+value, pods) })
}

func TestSignals(t *testing.T) {
	notInCI(t)
	for _, s := range kshellSubjects() {
		t.Run(s.Name, func(t *testing.T) { contract.Signals(t, s.Program, s.Flags...) })
	}
}
