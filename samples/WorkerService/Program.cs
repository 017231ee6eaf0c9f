using System.Runtime.InteropServices;
using System.Text.Json;
using WorkerService;

// Moves a file from one process to another through pooled, registered memory. appsettings.json has all its tuning; --help lists the switches.
bool isChild = args is [ReceiverProcess.Argument, _];
Dictionary<string, string?> settings;
if (isChild)
    settings = JsonSerializer.Deserialize(args[1], WireJson.Default.DictionaryStringString)!;
else if (new CommandLine("Moves a file through registered memory, and says what the pool saved.", TransferOptions.Switches, "AllocTools", "Transfer", "Telemetry", "Logging").Parse(args, out settings) is { } exitCode)
    return exitCode;
var report = new Report(isChild, settings);
// The host stops at it, as at Ctrl+C; only the exit code differs.
using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => report.Terminated());
try
{
    await SampleHost.RunAsync(settings, report);
}
catch (Exception e)
{
    report.Fail(e);
}
await report.EndAsync();
return report.ExitCode;
