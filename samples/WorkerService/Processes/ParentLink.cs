using WorkerService.Application;
using WorkerService.Transfer;

namespace WorkerService.Processes;

/// <summary>Ends a process that was started by another one with that other one. Its standard input is the link.</summary>
internal sealed class ParentLink(TransferOptions options, Outcome outcome, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!options.StartedByParent)
            return;
        using var reader = new StreamReader(Console.OpenStandardInput());
        string? line;
        try
        {
            // A read of the standard input can't be cancelled, only left behind.
            line = await Task.Run(reader.ReadLine, CancellationToken.None).WaitAsync(stoppingToken);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        outcome.Fail(line == ChildLine.StopCommand ? new OperationCanceledException() : new ParentGoneException());
        lifetime.StopApplication();
    }
}
