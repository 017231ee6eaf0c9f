using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace AllocTools.Endpoints.Engine;

/// <summary>Reports lost peers to readers. Readers run on their own threads, and a slow reader loses the oldest reports.</summary>
internal sealed class LostPeers
{
    private const int Room = 1024;

    private readonly Lock _gate = new();
    private readonly List<Channel<RmaPeerLost>> _readers = [];
    private bool _closed;

    public void Report(RmaPeerLost lost)
    {
        lock (_gate)
        {
            foreach (Channel<RmaPeerLost> reader in _readers)
                reader.Writer.TryWrite(lost);
        }
    }

    /// <summary>The peers that are lost from this call on, until the endpoint is closed.</summary>
    public IAsyncEnumerable<RmaPeerLost> ReadAsync(CancellationToken cancellationToken)
    {
        var reader = Channel.CreateBounded<RmaPeerLost>(new BoundedChannelOptions(Room) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        lock (_gate)
        {
            if (_closed)
                reader.Writer.Complete();
            else
                _readers.Add(reader);
        }
        return ReadAsync(reader, cancellationToken);
    }

    /// <summary>Ends all readers after the reports so far.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            _readers.ForEach(static r => r.Writer.TryComplete());
            _readers.Clear();
        }
    }

    private async IAsyncEnumerable<RmaPeerLost> ReadAsync(Channel<RmaPeerLost> reader, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            await foreach (RmaPeerLost lost in reader.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
                yield return lost;
        }
        finally
        {
            lock (_gate)
                _readers.Remove(reader);
        }
    }
}
