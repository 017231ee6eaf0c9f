namespace AllocTools.Libfabric.Tests;

/// <summary>The receive loop of docs/messages.md, as it stands there.</summary>
internal static class ReceiveLoop
{
    public delegate void Handler(ReadOnlySpan<byte> message);

    public static async Task RunAsync(RmaMemoryPool<LibfabricProvider> pool, IRmaEndpoint endpoint, int longest, Handler handle, Action<string> log, CancellationToken stop)
    {
        using RmaBuffer buffer = await pool.RentAsync(longest, cancellationToken: stop);
        while (true)
        {
            long length;
            try
            {
                length = await endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, stop);
            }
            catch (RmaMessageTruncatedException e)
            {
                // One message was too long and is lost. The endpoint and its peers are as before.
                log(e.Message);
                continue;
            }
            handle(buffer.Span[..(int)length]);
        }
    }
}
