using System.Text;
using AllocTools;
using WorkerService.Application;
using WorkerService.Protocol;

namespace WorkerService.Transfer;

/// <summary>The messages between the two sides, in rented buffers.</summary>
/// <remarks>
/// So many receives as the peer may have messages on their way are posted at any time, and a new one before a message
/// is given out. Received by one task; sent by any.
/// </remarks>
internal sealed class MessageChannel : IAsyncDisposable
{
    private static readonly TimeSpan AbortTime = TimeSpan.FromSeconds(1);

    private readonly IRmaMemoryPool _pool;
    private readonly IRmaEndpoint _endpoint;
    private readonly MessageCodec _codec;
    private readonly string _peerName;
    private readonly TimeSpan _timeout;
    private readonly CancellationTokenSource _closing = new();
    private readonly Queue<(RmaBuffer Buffer, Task<RmaReceiveResult> Length)> _posted = new();
    private RmaPeer? _peer;

    /// <param name="pool">For the messages.</param>
    /// <param name="endpoint">Where they go and come.</param>
    /// <param name="session">Names the transfer.</param>
    /// <param name="peerName">What errors call the other side.</param>
    /// <param name="timeout">Of a send.</param>
    /// <param name="depth">How many messages the peer may have on their way.</param>
    public MessageChannel(IRmaMemoryPool pool, IRmaEndpoint endpoint, Guid session, string peerName, TimeSpan timeout, int depth)
    {
        _pool = pool;
        _endpoint = endpoint;
        _codec = new MessageCodec(session);
        _peerName = peerName;
        _timeout = timeout;
        for (int i = 0; i < depth; i++)
            Post();
    }

    /// <summary>The peer; known from <see cref="Connect"/> on.</summary>
    public RmaPeer Peer => _peer ?? throw new InvalidOperationException("The peer is not known yet.");

    /// <summary>Says to whom messages go.</summary>
    /// <exception cref="RmaProviderException">It is no address of this fabric.</exception>
    public void Connect(ReadOnlySpan<byte> address) => _peer = _endpoint.InsertPeer(address);

    /// <summary>Sends a message.</summary>
    public Task SendAsync(Message message, CancellationToken cancellationToken) => SendAsync(message, _timeout, cancellationToken);

    /// <summary>Waits for the next message.</summary>
    /// <param name="silence">How long the peer may be silent.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PeerAbortedException">The peer gave up.</exception>
    /// <exception cref="PeerSilentException">It was silent for too long.</exception>
    /// <exception cref="TransferException">It said what it may not.</exception>
    public async Task<Message> ReceiveAsync(TimeSpan silence, CancellationToken cancellationToken)
    {
        while (true)
        {
            (RmaBuffer buffer, Task<RmaReceiveResult> receiving) = _posted.Peek();
            long length;
            try
            {
                length = await receiving.WaitAsync(silence, cancellationToken);
            }
            catch (TimeoutException)
            {
                throw new PeerSilentException($"The {_peerName} has said nothing for {silence.TotalSeconds:0.#} s: it is gone, or hangs.");
            }
            _posted.Dequeue();
            Message? message;
            try
            {
                Post();
                message = _codec.Read(buffer.GetSpan(0, length));
            }
            catch (FormatException e)
            {
                throw new TransferException($"The {_peerName} sent {ErrorLine.Clean(e.Message)}.");
            }
            finally
            {
                buffer.Dispose();
            }
            if (message is AbortMessage abort)
                throw new PeerAbortedException($"The {_peerName} gave up: {ErrorLine.Clean(abort.Reason)}");
            if (message is not null)
                return message;
        }
    }

    /// <summary>What to say of a message that came out of turn.</summary>
    public TransferException OutOfTurn(Message message) => new($"The {_peerName} sent {message.Kind} out of turn.");

    /// <summary>Tells the peer that the transfer has failed, where it can be told.</summary>
    public async Task TryAbortAsync(Exception reason)
    {
        if (_peer is null || reason is PeerAbortedException or PeerSilentException or RmaTimeoutException)
            return;
        try
        {
            await SendAsync(new AbortMessage(Shorten(ErrorLine.Of(reason))), AbortTime, CancellationToken.None);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException)
        {
            // It is gone, too.
        }
    }

    /// <summary>Gives the posted buffers back. What arrives from now on is lost.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        while (_posted.TryDequeue(out (RmaBuffer Buffer, Task<RmaReceiveResult> Length) posted))
        {
            await posted.Length.ContinueWith(static t => _ = t.Exception, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            posted.Buffer.Dispose();
        }
        _closing.Dispose();
        TryForgetPeer();
    }

    private void TryForgetPeer()
    {
        if (_peer is not { } peer)
            return;
        try
        {
            _endpoint.RemovePeer(peer);
        }
        catch (RmaException)
        {
            // It goes with the endpoint. Why the transfer failed is what counts.
        }
    }

    private async Task SendAsync(Message message, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using RmaBuffer buffer = await _pool.RentAsync(WireFormat.MaxMessageLength, cancellationToken);
        int length = _codec.Write(message, buffer.Span);
        await _endpoint.SendAsync(buffer.Slice(0, length), Peer, timeout, cancellationToken);
    }

    private void Post()
    {
        RmaBuffer buffer = _pool.Rent(WireFormat.MaxMessageLength);
        try
        {
            // How long the peer may be silent is counted from when somebody waits, not from here.
            _posted.Enqueue((buffer, _endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, _closing.Token).AsTask()));
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    private static string Shorten(string reason)
    {
        while (Encoding.UTF8.GetByteCount(reason) > WireFormat.MaxReasonLength)
            reason = reason[..(reason.Length * 3 / 4)];
        return reason;
    }
}
