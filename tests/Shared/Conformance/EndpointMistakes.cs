using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Mistakes that users of an endpoint make. Each is checked to throw the same exception at once on every transport, with the
/// name of the parameter at fault.
/// </summary>
public sealed class EndpointMistakes : IAsyncDisposable
{
    private const int Length = 1000;

    private static readonly OperationMistake[] OfOperations =
    [
        new("a write that is longer than its destination", m => RmaOperation.Write(m._buffer, m._remote[..100]), typeof(ArgumentException), "source"),
        new("a read that is longer than its source", m => RmaOperation.Read(m._buffer, m._remote[..100]), typeof(ArgumentException), "destination"),
        new("a write to memory that nobody imported", m => RmaOperation.Write(m._buffer, default), typeof(ArgumentException), "destination"),
        new("a read of memory that nobody imported", m => RmaOperation.Read(m._buffer, default), typeof(ArgumentException), "source"),
        new("a write to memory that another endpoint imported", m => RmaOperation.Write(m._buffer, m._importedThere), typeof(ArgumentException), "destination"),
        new("a read of memory that another endpoint imported", m => RmaOperation.Read(m._buffer, m._importedThere), typeof(ArgumentException), "source"),
        new("a send to another endpoint's peer", m => RmaOperation.Send(m._buffer, m._there.Peer), typeof(ArgumentException), "peer"),
        new("a send to nobody", m => RmaOperation.Send(m._buffer, default), typeof(ArgumentException), "peer"),
        new("a write to a removed peer", m => RmaOperation.Write(m._buffer, m._ofRemoved), typeof(ArgumentException), "destination"),
        new("a read of a removed peer", m => RmaOperation.Read(m._buffer, m._ofRemoved), typeof(ArgumentException), "source"),
        new("a send to a removed peer", m => RmaOperation.Send(m._buffer, m._ofRemoved.Peer), typeof(ArgumentException), "peer"),
        new("a write to released memory", m => RmaOperation.Write(m._buffer, m._released), typeof(ObjectDisposedException), null),
        new("a read of released memory", m => RmaOperation.Read(m._buffer, m._released), typeof(ObjectDisposedException), null),
        new("a write to memory that was exposed for reading", m => RmaOperation.Write(m._buffer, m._forReading), typeof(InvalidOperationException), null),
        new("a read of memory that was exposed for writing", m => RmaOperation.Read(m._buffer, m._forWriting), typeof(InvalidOperationException), null),
        .. OfLocal("another context's buffer", m => m._foreign, typeof(ArgumentException), isNamed: true),
        .. OfLocal("a buffer that was returned", m => m._returned, typeof(InvalidOperationException), isNamed: false),
        .. OfLocal("a buffer that was never rented", _ => default, typeof(InvalidOperationException), isNamed: false),
    ];

    private readonly Side _here;
    private readonly Side _there;
    private readonly List<IDisposable> _opened = [];
    private readonly RmaBuffer _buffer;
    private readonly RmaBuffer _foreign;
    private readonly RmaBuffer _returned;
    private readonly RmaExposure _exposure;
    private readonly RemoteRegion _remote;
    private readonly RemoteRegion _importedThere;
    private readonly RemoteRegion _ofRemoved;
    private readonly RemoteRegion _released;
    private readonly RemoteRegion _forReading;
    private readonly RemoteRegion _forWriting;

    /// <summary>Opens two contexts of a provider, and a third for a peer that goes away.</summary>
    public EndpointMistakes(Func<IRmaContext> open)
    {
        _here = new Side(open());
        _there = new Side(open());
        _here.Peer = _here.Endpoint.InsertPeer(_there.Endpoint.Address.Span);
        _there.Peer = _there.Endpoint.InsertPeer(_here.Endpoint.Address.Span);
        _buffer = Keep(_here.Pool.Rent(Length));
        _foreign = Keep(_there.Pool.Rent(Length));
        _returned = _here.Pool.Rent(Length);
        _returned.Dispose();
        _exposure = Keep(_foreign.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite));
        _remote = Keep(_here.Endpoint.Import(_here.Peer, _exposure.Remote));
        _released = _here.Endpoint.Import(_here.Peer, _exposure.Remote);
        _released.Dispose();
        _forReading = Keep(_here.Endpoint.Import(_here.Peer, Keep(_foreign.Expose(RmaAccess.RemoteRead)).Remote));
        _forWriting = Keep(_here.Endpoint.Import(_here.Peer, Keep(_foreign.Expose(RmaAccess.RemoteWrite)).Remote));
        _importedThere = Keep(_there.Endpoint.Import(_there.Peer, Keep(_buffer.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite)).Remote));

        var gone = Keep(new Side(open()));
        RmaPeer peer = _here.Endpoint.InsertPeer(gone.Endpoint.Address.Span);
        _ofRemoved = Keep(_here.Endpoint.Import(peer, Keep(gone.Keep(gone.Pool.Rent(Length)).Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite)).Remote));
        _here.Endpoint.RemovePeer(peer);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void CheckOperations() => Assert.All(OfOperations, mistake =>
    {
        RmaOperation operation = mistake.Operation(this);
        AssertThrows(mistake.Error, mistake.Parameter, mistake.Name, () => Start(operation, null));
        AssertThrows(mistake.Error, mistake.Parameter is null ? null : "operation", mistake.Name + ", posted", () => _here.Endpoint.TryPost(operation));
        if (operation.Kind != RmaOperationKind.Receive)
            AssertThrows(mistake.Error, mistake.Parameter, mistake.Name + ", in a batch", () => Add(_here.Endpoint.CreateBatch(), operation));
        // No completion is left behind.
        Assert.Equal(0, _here.Endpoint.Poll(new RmaCompletion[1]));
    });

    public void CheckTimeouts() => Assert.All(Usual(), operation =>
    {
        foreach (TimeSpan timeout in new[] { TimeSpan.FromMilliseconds(-2), TimeSpan.FromHours(25), TimeSpan.MaxValue })
            AssertThrows(typeof(ArgumentOutOfRangeException), "timeout", $"{operation.Kind} with a time-out of {timeout}", () => Start(operation, timeout));
    });

    /// <summary>Makes progress itself, because nobody else does here.</summary>
    public async Task CheckAwaitedTwiceAsync()
    {
        ValueTask write = _here.Endpoint.WriteAsync(_buffer, _remote, cancellationToken: Token);
        while (!write.IsCompleted)
        {
            _here.Endpoint.Poll([]);
            _there.Endpoint.Poll([]);
            await Task.Yield();
        }
        await write;
        var error = await Assert.ThrowsAsync<InvalidOperationException>(async () => await write);
        Assert.Contains("was awaited before", error.Message, StringComparison.Ordinal);
        Assert.Contains("AsTask()", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A cancellation is not a mistake; the task reports it.</summary>
    public void CheckCancelled() => Assert.All(Usual(), operation =>
    {
        ValueTask task = Start(operation, null, new CancellationToken(canceled: true));
        Assert.True(task.IsCanceled);
    });

    public void CheckPeersAndMemory()
    {
        IRmaEndpoint endpoint = _here.Endpoint;
        AssertThrows(typeof(ArgumentException), "peer", "removing another endpoint's peer", () => endpoint.RemovePeer(_there.Peer));
        AssertThrows(typeof(ArgumentException), "peer", "removing nobody", () => endpoint.RemovePeer(default));
        AssertThrows(typeof(ArgumentException), "peer", "removing a peer twice", () => endpoint.RemovePeer(_ofRemoved.Peer));
        AssertThrows(typeof(ArgumentException), "peer", "importing memory of another endpoint's peer", () => endpoint.Import(_there.Peer, _exposure.Remote));
        AssertThrows(typeof(ArgumentException), "memory", "importing nothing", () => endpoint.Import(_here.Peer, default));
        RemoteMemory other = _exposure.Remote.IsRaw ? new(0, Length, 7, RmaAccess.RemoteWrite) : new(0, Length, [1, 2, 3], 0, RmaAccess.RemoteWrite);
        AssertThrows(typeof(RmaProviderException), null, "importing memory of another transport", () => endpoint.Import(_here.Peer, other));
        byte[] address = _there.Endpoint.Address.ToArray();
        AssertThrows(typeof(RmaProviderException), null, "inserting no address", () => endpoint.InsertPeer([]));
        AssertThrows(typeof(RmaProviderException), null, "inserting half an address", () => endpoint.InsertPeer(address.AsSpan(0, address.Length / 2)));
        address[^1] ^= 1;
        AssertThrows(typeof(RmaProviderException), null, "inserting a damaged address", () => endpoint.InsertPeer(address));
        AssertThrows(typeof(ArgumentException), "operation", "posting nothing", () => endpoint.TryPost(default));
    }

    /// <summary>Checks that objects of another endpoint are named, and both endpoints by their providers.</summary>
    public void CheckStrangersAreNamed()
    {
        string provider = $"provider '{_here.Endpoint.Context.Traits.ProviderName}'";
        AssertSays("The remote memory was imported by another endpoint, from peer ", () => _here.Endpoint.WriteAsync(_buffer, _importedThere));
        AssertSays($" ({provider}), and can't be used at this one ({provider}). Insert the peer here (InsertPeer), and import its memory here (Import).", () => _here.Endpoint.WriteAsync(_buffer, _importedThere));
        AssertSays($"Peer {_there.Peer.Handle} was inserted at another endpoint ({provider}), and can't be used at this one ({provider}).", () => _here.Endpoint.SendAsync(_buffer, _there.Peer));
        AssertSays($"belongs to a different context than this endpoint of {provider}.", () => _here.Endpoint.SendAsync(_foreign, _here.Peer));
        AssertSays($"The RemoteRegion is disposed: 1,000 bytes of {_here.Peer}.", () => _here.Endpoint.WriteAsync(_buffer, _released));
        AssertSays($"peer {_ofRemoved.Peer.Handle} of {provider}, is not known to the endpoint", () => _here.Endpoint.WriteAsync(_buffer, _ofRemoved));
        _there.Endpoint.Dispose();
        AssertSays($" (closed, {provider}), and", () => _here.Endpoint.WriteAsync(_buffer, _importedThere));
    }

    /// <summary>Closes the endpoint, so it has to be the last check.</summary>
    public void CheckClosed()
    {
        IRmaEndpoint endpoint = _here.Endpoint;
        RmaBatch batch = endpoint.CreateBatch();
        endpoint.Dispose();
        Assert.All(Usual(), operation =>
        {
            AssertClosed($"{operation.Kind}", () => Start(operation, null));
            AssertClosed($"{operation.Kind}, posted", () => endpoint.TryPost(operation));
        });
        AssertClosed("writing with a notification", () => endpoint.WriteAsync(_buffer, _remote, notification: 1, cancellationToken: Token));
        AssertClosed("polling", () => endpoint.Poll([]));
        AssertClosed("polling notifications", () => endpoint.PollNotifications([]));
        AssertClosed("inserting a peer", () => endpoint.InsertPeer(_there.Endpoint.Address.Span));
        AssertClosed("removing a peer", () => endpoint.RemovePeer(_here.Peer));
        AssertClosed("importing", () => endpoint.Import(_here.Peer, _exposure.Remote));
        AssertClosed("making a batch", () => endpoint.CreateBatch());
        AssertClosed("adding to a batch", () => batch.Write(_buffer, _remote));
        AssertClosed("running a batch", () => batch.RunAsync(cancellationToken: Token));
    }

    public async ValueTask DisposeAsync()
    {
        for (int i = _opened.Count - 1; i >= 0; i--)
            _opened[i].Dispose();
        await _here.DisposeAsync();
        await _there.DisposeAsync();
    }

    private static IEnumerable<OperationMistake> OfLocal(string name, Func<EndpointMistakes, RmaBuffer> buffer, Type error, bool isNamed) =>
    [
        new($"a write of {name}", m => RmaOperation.Write(buffer(m), m._remote), error, isNamed ? "source" : null),
        new($"a read into {name}", m => RmaOperation.Read(buffer(m), m._remote), error, isNamed ? "destination" : null),
        new($"a send of {name}", m => RmaOperation.Send(buffer(m), m._here.Peer), error, isNamed ? "message" : null),
        new($"a receive into {name}", m => RmaOperation.Receive(buffer(m)), error, isNamed ? "buffer" : null),
    ];

    /// <summary>Returns one valid operation of each kind.</summary>
    private RmaOperation[] Usual() =>
        [RmaOperation.Write(_buffer, _remote), RmaOperation.Read(_buffer, _remote), RmaOperation.Send(_buffer, _here.Peer), RmaOperation.Receive(_buffer)];

    private ValueTask Start(in RmaOperation operation, TimeSpan? timeout, CancellationToken? cancellationToken = null) => operation.Kind switch
    {
        RmaOperationKind.Write => _here.Endpoint.WriteAsync(operation.Local, operation.Remote, timeout, cancellationToken ?? Token),
        RmaOperationKind.Read => _here.Endpoint.ReadAsync(operation.Local, operation.Remote, timeout, cancellationToken ?? Token),
        RmaOperationKind.Send => _here.Endpoint.SendAsync(operation.Local, operation.Peer, timeout, cancellationToken ?? Token),
        _ => new ValueTask(_here.Endpoint.ReceiveAsync(operation.Local, timeout, cancellationToken ?? Token).AsTask()),
    };

    private static void Add(RmaBatch batch, in RmaOperation operation)
    {
        switch (operation.Kind)
        {
            case RmaOperationKind.Write:
                batch.Write(operation.Local, operation.Remote);
                break;
            case RmaOperationKind.Read:
                batch.Read(operation.Local, operation.Remote);
                break;
            default:
                batch.Send(operation.Local, operation.Peer);
                break;
        }
    }

    /// <summary>Asserts that the call itself throws, not the task that it would return.</summary>
    private static void AssertThrows(Type type, string? parameter, string mistake, Action call) =>
        AssertThrows(type, parameter, mistake, () =>
        {
            call();
            return ValueTask.CompletedTask;
        });

    private static void AssertThrows(Type type, string? parameter, string mistake, Func<ValueTask> call)
    {
        Exception? error = Record.Exception(() => { _ = call().AsTask(); });
        Assert.True(error?.GetType() == type, $"{mistake}: {error?.ToString() ?? "nothing was thrown"}");
        if (error is ArgumentException argument)
            Assert.True(argument.ParamName == parameter, $"{mistake}: {error}");
    }

    private static void AssertSays(string text, Func<ValueTask> call) =>
        Assert.Contains(text, Assert.ThrowsAny<Exception>(() => { _ = call().AsTask(); }).Message, StringComparison.Ordinal);

    private void AssertClosed(string call, Action made) => AssertClosed(call, () =>
    {
        made();
        return ValueTask.CompletedTask;
    });

    private void AssertClosed(string call, Func<ValueTask> made)
    {
        AssertThrows(typeof(ObjectDisposedException), null, $"{call} at a closed endpoint", made);
        AssertSays($"The endpoint of provider '{_here.Endpoint.Context.Traits.ProviderName}' is disposed.", made);
    }

    private T Keep<T>(T opened)
        where T : IDisposable
    {
        _opened.Add(opened);
        return opened;
    }

    private sealed record OperationMistake(string Name, Func<EndpointMistakes, RmaOperation> Operation, Type Error, string? Parameter);

    /// <summary>A context with a pool and an endpoint.</summary>
    private sealed class Side : IAsyncDisposable, IDisposable
    {
        private readonly IRmaContext _context;
        private readonly List<RmaBuffer> _buffers = [];

        public Side(IRmaContext context)
        {
            _context = context;
            Pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
            Endpoint = context.OpenEndpoint();
        }

        public RmaMemoryPool<HostProvider> Pool { get; }

        public IRmaEndpoint Endpoint { get; }

        public RmaPeer Peer { get; set; }

        public RmaBuffer Keep(RmaBuffer buffer)
        {
            _buffers.Add(buffer);
            return buffer;
        }

        public void Dispose()
        {
            _buffers.ForEach(b => b.Dispose());
            Endpoint.Dispose();
            Pool.Dispose();
            _context.Dispose();
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
