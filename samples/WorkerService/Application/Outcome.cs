using Microsoft.Extensions.Options;
using WorkerService.Reporting;

namespace WorkerService.Application;

/// <summary>How the process ends. The first failure counts and is reported; what follows from it is not.</summary>
internal sealed class Outcome(ITransferReport report, CommandLine commandLine)
{
    private int _exitCode = -1;

    /// <summary>What the process returns. Nothing that succeeded and nothing that failed is a failure.</summary>
    public int ExitCodeOrFailure => _exitCode < 0 ? ExitCode.Failure : _exitCode;

    /// <summary>The file is through.</summary>
    public void Succeed() => Interlocked.CompareExchange(ref _exitCode, ExitCode.Success, -1);

    /// <summary>It failed, or was stopped.</summary>
    public void Fail(Exception exception)
    {
        int exitCode = exception switch
        {
            OperationCanceledException => ExitCode.Stopped,
            UsageException or OptionsValidationException => ExitCode.Usage,
            _ => ExitCode.Failure,
        };
        if (Interlocked.CompareExchange(ref _exitCode, exitCode, -1) != -1)
            return;
        report.Failed(exception);
        if (commandLine.IsVerbose)
            Console.Error.WriteLine(exception);
    }
}
