package suite

import (
	"fmt"
	"testing"
	"time"

	"kshell/test/contract"
)

func TestManyPods(t *testing.T) {
	inCI(t)
	onEach(t, contract.Many)
}

func TestManyPodsThatPrintWithoutEndAreHeldBackAndEnded(t *testing.T) {
	notInCI(t)
	const pods = 20
	value := fmt.Sprint(time.Now().UnixNano()) // others may run the same here
	var names []string
	for range pods {
		p := sleeper("")
		p.Labels = map[string]string{"flood": value}
		names = append(names, create(t, p))
	}
	for _, name := range names {
		sees(t, name, "ready", isReady)
	}
	onEach(t, func(t *testing.T, p contract.Program) { contract.Flood(t, p, "flood="+value, pods) })
}

func TestWhatEndsKshellEndsTheCommand(t *testing.T) {
	notInCI(t)
	for _, s := range ours() {
		t.Run(s.Name, func(t *testing.T) { contract.Signals(t, s.Program, s.Flags...) })
	}
}
