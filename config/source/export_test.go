package source

// EachSetting lets a test compare how config files are read with how git does it.
var EachSetting = eachSetting
