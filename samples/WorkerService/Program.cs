using System.Runtime.InteropServices;
using WorkerService;

// Moves a file from one process to another over a connection of registered memory. appsettings.json contains all
// tuning options; --help lists the switches.
var report = new Report();
// The host stops on SIGTERM as on Ctrl+C; only the exit code differs.
using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => report.IsTerminated = true);
try
{
    var line = new CommandLine("Moves a file through registered memory, and reports what the pool saved.", TransferOptions.Switches, "AllocTools", "Transfer", "Telemetry", "Logging");
    if (line.Parse(args) is { } arguments)
        return await SampleHost.RunAsync(arguments, report);
    return 0;
}
catch (Exception e)
{
    return await report.FailAsync(e);
}
