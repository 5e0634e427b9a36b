package notice

import (
	"sync"
	"time"
)

// ProgressDelay is the delay after which the progress of a wait is shown.
const ProgressDelay = time.Second

// Delayed is a Progress that is shown only on a terminal, and only if the wait
// takes longer than a delay. Its methods may be called from any goroutine.
type Delayed struct {
	printer *Printer
	timer   *time.Timer

	mu    sync.Mutex
	text  string
	line  *Progress // nil until the delay has passed
	ended bool
}

// ProgressAfter starts to report the state of a wait, which is the text until the
// first Update. The caller must call End.
func (p *Printer) ProgressAfter(delay time.Duration, text string) *Delayed {
	d := &Delayed{printer: p, text: text}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(delay, d.show)
	return d
}

// show shows the progress line. The timer calls it after the delay.
func (d *Delayed) show() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.line = d.printer.Progress()
	d.update()
}

// Update reports a new state of the wait.
func (d *Delayed) Update(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = text
	d.update()
}

// update shows the text. The caller must hold d.mu.
func (d *Delayed) update() {
	if d.line != nil && !d.ended && d.line.InPlace() {
		d.line.Update(d.text)
	}
}

// End removes the progress line. A second call has no effect.
func (d *Delayed) End() {
	d.timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.line != nil {
		d.line.End()
	}
}
