using AllocTools.Endpoints;

namespace AllocTools.Libfabric.Tests;

/// <summary>The receive loop of docs/messages.md, as it stands there.</summary>
internal static class ReceiveLoop
{
    public delegate void Handler(RmaPeer? sender, ReadOnlySpan<byte> message);

    // The endpoint is on the pool's context; longest is what peers may send, in bytes.
    public static async Task ReceiveAsync(IRmaMemoryPool pool, IRmaEndpoint endpoint, int longest, Handler handle, Action<string> log, CancellationToken stop)
    {
        await foreach (RmaMessage message in endpoint.ReceiveAllAsync(pool, bufferLength: longest, posted: 16, stop))
        {
            using (message)
            {
                // One message was too long and is lost. The endpoint and its peers are as before.
                if (message.IsTruncated)
                    log(message.Truncation.Message);
                else
                    handle(message.Sender, message.Span);
            }
        }
    }
}
