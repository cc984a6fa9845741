package terminal

import (
	"bytes"
	"os"
	"testing"

	"github.com/creack/pty"
)

func TestTheStyleFollowsTheTerminalAndTheUsualVariables(t *testing.T) {
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	defer tty.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	var pipe bytes.Buffer
	none := func(string) string { return "" }
	if _, ok := Of(&pipe, none); ok {
		t.Error("a pipe is a terminal")
	}
	type environ = map[string]string
	colour := Style{Width: 100, Colour: true, Redraws: true}
	inUTF8 := colour
	inUTF8.UTF8 = true
	for name, tt := range map[string]struct {
		environ environ
		piped   bool
		want    Style
	}{
		"a terminal":         {environ{"TERM": "xterm"}, false, colour},
		"a size of its own":  {environ{"COLUMNS": "50"}, false, colour},
		"UTF-8":              {environ{"LANG": "zh_TW.utf8"}, false, inUTF8},
		"LC_ALL before LANG": {environ{"LANG": "C.UTF-8", "LC_ALL": "C"}, false, colour},
		"no colour":          {environ{"NO_COLOR": "1"}, false, Style{Width: 100, Redraws: true}},
		"none even if forced": {environ{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false,
			Style{Width: 100, Redraws: true}},
		"CLICOLOR=0":        {environ{"CLICOLOR": "0"}, false, Style{Width: 100, Redraws: true}},
		"a dumb one":        {environ{"TERM": "dumb"}, false, Style{Width: 100}},
		"a pipe to a pager": {environ{"CLICOLOR_FORCE": "1", "COLUMNS": "70"}, true, Style{Width: 70, Colour: true}},
		"a huge width": {environ{"CLICOLOR_FORCE": "1", "COLUMNS": "2000000000"}, true,
			Style{Width: 80, Colour: true}},
		"an unknown width": {environ{"CLICOLOR_FORCE": "1", "COLUMNS": "-4"}, true, Style{Width: 80, Colour: true}},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := func(name string) string { return tt.environ[name] }
			got, ok := Of(tty, getenv)
			if tt.piped {
				got, ok = Of(&pipe, getenv)
			}
			if !ok || got != tt.want {
				t.Errorf("%+v %t, want %+v", got, ok, tt.want)
			}
		})
	}
}

func TestAPipeWithoutAReaderIsSeen(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if ReaderGone(writer) {
		t.Error("it has a reader")
	}
	reader.Close()
	if !ReaderGone(writer) {
		t.Error("it has none")
	}
}
