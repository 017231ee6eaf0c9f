using WorkerService.Jobs;

namespace WorkerService.Application;

/// <summary>Does the job, then stops the host. The pool is open and warm when it starts, and is closed after it has ended.</summary>
internal sealed class TransferWorker(ITransferJob job, Outcome outcome, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await job.RunAsync(stoppingToken);
            outcome.Succeed();
        }
        catch (OperationCanceledException) when (job.EndsWithStop && stoppingToken.IsCancellationRequested)
        {
            outcome.Succeed();
        }
        catch (Exception e)
        {
            outcome.Fail(e);
        }
        finally
        {
            lifetime.StopApplication();
        }
    }
}
