module hostguard

go 1.26

require github.com/sethvargo/go-githubactions v1.3.1
