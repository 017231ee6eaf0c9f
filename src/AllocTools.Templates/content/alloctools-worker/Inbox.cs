using AllocTools;
using AllocTools.Endpoints;
using Microsoft.Extensions.Options;

namespace AllocToolsWorker1;

/// <summary>The information that a worker needs to write into the inbox. Send it only to those that may do so.</summary>
/// <param name="Address">The address of the endpoint.</param>
/// <param name="Memory">The memory that may be written to.</param>
internal sealed record Invitation(ReadOnlyMemory<byte> Address, RemoteMemory Memory);

/// <summary>Memory of this process that a worker fills.</summary>
internal sealed class Inbox(IRmaMemoryPool pool, IRmaEndpoint endpoint, IOptions<TransferOptions> options, ILogger<Inbox> logger, IHostApplicationLifetime lifetime) : BackgroundService
{
    private readonly TaskCompletionSource _full = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private RmaBuffer _buffer;
    private RmaExposure? _exposure;

    public Invitation Invitation => new(endpoint.Address, _exposure!.Remote);

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        _buffer = pool.Rent(options.Value.Blocks * TransferOptions.BlockLength);
        _exposure = _buffer.Expose(RmaAccess.RemoteWrite);
        return base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await ReceiveBlocksAsync(stoppingToken);
            _full.TrySetResult();
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The service ends before all blocks have arrived.
            _full.TrySetCanceled(stoppingToken);
        }
        catch (Exception e)
        {
            // The host logs the exception and ends, but its exit code would be 0.
            Environment.ExitCode = 1;
            _full.TrySetException(e);
            throw;
        }
    }

    private async Task ReceiveBlocksAsync(CancellationToken stoppingToken)
    {
        HashSet<ulong> arrived = [];
        // Each write has a notification with its number, which arrives when the bytes are in place.
        await foreach (RmaNotification written in endpoint.ReadNotificationsAsync(stoppingToken))
        {
            // The number comes from another process, so it is checked.
            if (written.Value >= (ulong)options.Value.Blocks)
            {
                logger.LogWarning("There is no block {Block}; the worker must have the same Transfer:Blocks.", written.Value);
                continue;
            }
            byte first = _buffer.Span[(int)written.Value * TransferOptions.BlockLength];
            logger.LogInformation("Block {Block} has arrived; its first byte is {Byte}.", written.Value, first);
            arrived.Add(written.Value);
            if (arrived.Count == options.Value.Blocks)
                break;
        }
    }

    /// <summary>Waits until all blocks have arrived, and ends the process. A service of yours would continue.</summary>
    /// <returns>The number of bytes that have arrived.</returns>
    public async Task<int> CloseAsync(CancellationToken cancellationToken)
    {
        await _full.Task.WaitAsync(cancellationToken);
        lifetime.StopApplication();
        return options.Value.Blocks * TransferOptions.BlockLength;
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        // Peers may write until the exposure ends, so it ends first. The pool and the endpoint close after all hosted services.
        _exposure?.Dispose();
        _buffer.Dispose();
    }
}
