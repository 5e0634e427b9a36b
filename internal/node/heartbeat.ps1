$left = TIMEOUT
New-Item -Force -ItemType Directory $env:KSHELL_STATE | Out-Null
while ($left -gt 0) {
  Start-Sleep INTERVAL
  $left -= INTERVAL
  if (Test-Path "$env:KSHELL_STATE\beat") { Remove-Item "$env:KSHELL_STATE\beat"; $left = TIMEOUT }
}
Remove-Item -Recurse $env:KSHELL_STATE
