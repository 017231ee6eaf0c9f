using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace AllocTools.MultiRail;

/// <summary>
/// Reaches the same peers by several links (rails), such as shared memory first and TCP second, or two network cards.
/// A write or a read is split into stripes over the rails that are up. When a rail fails, its stripes are repeated over
/// the others, and the rail is retried after growing delays.
/// </summary>
/// <remarks>
/// <para>
/// Each rail has a pool on a context of its own, and an endpoint by which peers reach this process. Memory is registered
/// with each of them (<see cref="Rent"/>, <see cref="Attach"/>), and exposed on all of them under one description. For
/// each peer and rail, the multi-rail opens an endpoint, and thus a thread. It closes that endpoint when the rail to the
/// peer fails, so that none of its operations are left when their stripes are repeated elsewhere.
/// </para>
/// <para>
/// Only plain writes and reads use several rails; use the endpoints for messages and notifications. The bytes of a
/// transfer arrive in any order, and a transfer that fails may have been carried out in part. docs/multi-rail.md shows
/// a program, and describes what happens when a rail fails. All members are safe to call from any thread.
/// </para>
/// </remarks>
public sealed class RmaMultiRail : IAsyncDisposable
{
    private const int WordLength = 8;

    private readonly Lock _gate = new();
    private readonly ChangeReaders<RmaRailChange> _readers = new();
    private readonly List<RmaRailPeer> _peers = [];
    private readonly List<RmaBuffer> _words = [];
    private readonly List<RmaExposure> _wordExposures = [];
    private readonly byte[] _address;
    private readonly Counters[] _counters;
    private bool _disposed;

    /// <summary>Creates a multi-rail. The rails still belong to the caller.</summary>
    /// <param name="rails">The rails; the first is the preferred one.</param>
    /// <param name="options">The options, which are read only here; their Rails are ignored. Null for the defaults.</param>
    /// <param name="name">The name in logs and metrics.</param>
    /// <param name="logger">The log; null for none.</param>
    /// <param name="time">The clock; null for the system's.</param>
    /// <exception cref="ArgumentException">There are too few or too many rails, or a name can't be used.</exception>
    /// <exception cref="OptionsValidationException">The options are invalid.</exception>
    /// <exception cref="InvalidOperationException">A rail's pool does not allow RemoteRead.</exception>
    public RmaMultiRail(IReadOnlyList<RmaRail> rails, RmaMultiRailOptions? options = null, string name = RmaMemoryPoolName.Default, ILogger? logger = null, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(rails);
        ArgumentException.ThrowIfNullOrEmpty(name);
        Options = (options ?? new RmaMultiRailOptions()).Copy();
        RmaMultiRailOptionsValidator.ThrowIfInvalid(Options);
        if (string.Join(' ', RmaMultiRailOptionsValidator.FailuresOf([.. rails.Select(static r => r.Name)])) is { Length: > 0 } failures)
            throw new ArgumentException(failures, nameof(rails));
        Rails = [.. rails];
        Name = name;
        Logger = logger is null ? NullLogger.Instance : GuardedLogger.Over(logger);
        Time = time ?? TimeProvider.System;
        _counters = [.. rails.Select(static _ => new Counters())];
        try
        {
            foreach (RmaRail rail in Rails)
            {
                RmaBuffer word = rail.Pool.Rent(WordLength);
                _words.Add(word);
                word.GetSpan(0, WordLength).Clear();
                _wordExposures.Add(word.Expose(0, WordLength, RmaAccess.RemoteRead));
            }
        }
        catch
        {
            ReleaseWords();
            throw;
        }
        _address = new RailForm
        {
            Kind = RailForm.Content.Addresses,
            Owner = Id,
            Rails = [.. Rails.Select((r, i) => new RailForm.Rail(r.Name, r.Endpoint.Address, _wordExposures[i].Remote))],
        }.ToArray();
    }

    /// <summary>The name in logs and metrics.</summary>
    public string Name { get; }

    /// <summary>The rails.</summary>
    public IReadOnlyList<RmaRail> Rails { get; }

    /// <summary>The addresses of all rails, which peers pass to <see cref="InsertPeer"/> (docs/wire-forms.md).</summary>
    public ReadOnlyMemory<byte> Address => _address;

    internal RmaMultiRailOptions Options { get; }

    internal Guid Id { get; } = Guid.NewGuid();

    internal ILogger Logger { get; }

    internal TimeProvider Time { get; }

    /// <summary>Rents memory from the first rail's pool, and registers it with the others.</summary>
    /// <param name="length">The length in bytes: 1 or more, and below 2 GiB.</param>
    /// <exception cref="RmaException">A pool has no room, or its provider refused.</exception>
    public RmaRailMemory Rent(long length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, int.MaxValue);
        ThrowIfDisposed();
        RmaBuffer buffer = Rails[0].Pool.Rent(length);
        return new RmaRailMemory(this, buffer, buffer);
    }

    /// <summary>Registers a pool's memory, or the caller's own (<see cref="IRmaMemoryPool.Register(Memory{byte})"/>), with each rail whose context it is not on.</summary>
    /// <param name="buffer">The memory, below 2 GiB. It still belongs to the caller, who must dispose it after the result.</param>
    /// <exception cref="RmaException">A pool has no room, or its provider refused.</exception>
    public RmaRailMemory Attach(RmaBuffer buffer)
    {
        ThrowIfDisposed();
        return new RmaRailMemory(this, buffer, rented: null);
    }

    /// <summary>Inserts a peer on each rail that both sides have. Rails are matched by name.</summary>
    /// <param name="address">The peer's <see cref="Address"/>.</param>
    /// <exception cref="FormatException">The bytes are not the address of a multi-rail.</exception>
    /// <exception cref="ArgumentException">The peer has no rail that this side has.</exception>
    /// <exception cref="RmaException">No rail could open an endpoint and insert the peer. If that fails on some rails only, those start as down.</exception>
    public RmaRailPeer InsertPeer(ReadOnlySpan<byte> address)
    {
        RailForm form = RailForm.Read(address, RailForm.Content.Addresses);
        ThrowIfDisposed();
        (int Rail, RailForm.Rail Remote)[] common =
        [
            .. from own in Rails.Index()
               join remote in form.Rails on own.Item.Name equals remote.Name
               select (own.Index, remote),
        ];
        if (common.Length == 0)
        {
            throw new ArgumentException(
                $"The peer has the rails {string.Join(", ", form.Rails.Select(static r => r.Name))}, and this side has {string.Join(", ", Rails.Select(static r => r.Name))}. The two ends of a link must have the same name.",
                nameof(address));
        }
        RmaRailPeer peer = new(this, form, common);
        lock (_gate)
        {
            if (!_disposed)
            {
                _peers.Add(peer);
                foreach (RailLink link in peer.Links)
                {
                    if (link.OpenError is { } error)
                        link.StartDown(error.Message);
                }
                return peer;
            }
        }
        _ = CloseAsync(peer);
        throw Disposed();
    }

    /// <summary>Removes a peer, and closes this side's endpoints to it. Transfers that are under way fail.</summary>
    /// <param name="peer">A peer of this multi-rail.</param>
    /// <exception cref="ArgumentException">It belongs to another multi-rail, or was already removed.</exception>
    public async Task RemovePeerAsync(RmaRailPeer peer)
    {
        ArgumentNullException.ThrowIfNull(peer);
        bool isRemoved;
        lock (_gate)
            isRemoved = _peers.Remove(peer);
        if (!isRemoved)
            throw new ArgumentException("The peer belongs to another multi-rail, or was already removed.", nameof(peer));
        await CloseAsync(peer).ConfigureAwait(false);
    }

    /// <summary>Makes a peer's memory usable in transfers.</summary>
    /// <param name="peer">The owner of the memory.</param>
    /// <param name="memory">The description that the peer sent (<see cref="RmaRailExposure.ToArray"/>).</param>
    /// <exception cref="FormatException">The bytes are not the memory of a multi-rail, or the memory is on no rail that leads to the peer.</exception>
    /// <exception cref="ArgumentException">The peer belongs to another multi-rail, or the memory belongs to another peer.</exception>
    public RmaRailRegion Import(RmaRailPeer peer, ReadOnlySpan<byte> memory)
    {
        ArgumentNullException.ThrowIfNull(peer);
        if (peer.Owner != this)
            throw new ArgumentException("The peer belongs to another multi-rail.", nameof(peer));
        RailForm form = RailForm.Read(memory, RailForm.Content.Memory);
        if (form.Owner != peer.Id)
            throw new ArgumentException("The memory belongs to another peer, or to the same one before a restart. Insert the address that came with the memory.", nameof(memory));
        return new RmaRailRegion(peer, form);
    }

    /// <summary>Writes to a peer's memory. The task completes when all bytes are there.</summary>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination.</param>
    /// <param name="range">The bytes to move; null for all of the source.</param>
    /// <param name="timeout">Replaces TransferTimeout.</param>
    /// <param name="cancellationToken">Requests cancellation; the write may still be executed in part.</param>
    /// <exception cref="RmaTimeoutException">The transfer did not end in time, for example because no rail was up.</exception>
    /// <exception cref="RmaOperationException">A stripe was refused, for example because the exposure has ended.</exception>
    public Task WriteAsync(RmaRailMemory source, RmaRailRegion destination, RmaRailRange? range = null, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        return RunAsync(RmaOperationKind.Write, source, destination, range ?? new RmaRailRange(0, 0, source.Length), timeout, cancellationToken);
    }

    /// <summary>Reads a peer's memory.</summary>
    /// <param name="destination">The destination.</param>
    /// <param name="source">The bytes to read.</param>
    /// <param name="range">The bytes to move; null for all of the destination.</param>
    /// <param name="timeout">Replaces TransferTimeout.</param>
    /// <param name="cancellationToken">Requests cancellation.</param>
    /// <inheritdoc cref="WriteAsync"/>
    public Task ReadAsync(RmaRailMemory destination, RmaRailRegion source, RmaRailRange? range = null, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        ArgumentNullException.ThrowIfNull(source);
        return RunAsync(RmaOperationKind.Read, destination, source, range ?? new RmaRailRange(0, 0, destination.Length), timeout, cancellationToken);
    }

    /// <summary>
    /// Reports the rails whose state changes from this call on, until the multi-rail is closed. Each call has its own
    /// reader, which never delays a transfer; a reader that falls more than 1,024 reports behind loses the oldest ones.
    /// </summary>
    /// <param name="cancellationToken">Ends the reader.</param>
    public IAsyncEnumerable<RmaRailChange> ReadRailChangesAsync(CancellationToken cancellationToken = default) => _readers.ReadAsync(cancellationToken);

    /// <summary>Returns the statistics of each rail.</summary>
    public IReadOnlyList<RmaRailStatistics> GetStatistics()
    {
        RailLink[] links;
        lock (_gate)
            links = [.. _peers.SelectMany(static p => p.Links)];
        return
        [
            .. Rails.Select((rail, i) => new RmaRailStatistics
            {
                Rail = rail.Name,
                Up = links.Count(l => l.Rail == i && l.Session is not null),
                Down = links.Count(l => l.Rail == i && l.Session is null),
                Failures = Volatile.Read(ref _counters[i].Failures),
                Recoveries = Volatile.Read(ref _counters[i].Recoveries),
                Bytes = Volatile.Read(ref _counters[i].Bytes),
                RepeatedStripes = Volatile.Read(ref _counters[i].Repeated),
            }),
        ];
    }

    /// <summary>Closes the endpoints to all peers. Transfers that are under way fail. The rails still belong to the caller.</summary>
    public async ValueTask DisposeAsync()
    {
        RmaRailPeer[] peers;
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            peers = [.. _peers];
        }
        await Task.WhenAll(peers.Select(CloseAsync)).ConfigureAwait(false);
        _readers.Close();
        ReleaseWords();
    }

    /// <summary>Counts and reports a change. Links call this under their lock.</summary>
    internal void Report(RailLink link, RmaRailPeer peer, RmaRailState state, string reason)
    {
        Counters counters = _counters[link.Rail];
        Interlocked.Increment(ref state == RmaRailState.Down ? ref counters.Failures : ref counters.Recoveries);
        _readers.Report(new RmaRailChange(link.Name, peer, state, reason));
        peer.NoteChange();
    }

    internal void CountBytes(int rail, long bytes) => Interlocked.Add(ref _counters[rail].Bytes, bytes);

    internal void CountRepeated(int rail) => Interlocked.Increment(ref _counters[rail].Repeated);

    private Task RunAsync(RmaOperationKind kind, RmaRailMemory memory, RmaRailRegion region, RmaRailRange range, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (memory.Owner != this || region.Peer.Owner != this)
            throw new ArgumentException("The memory or the peer belongs to another multi-rail.", memory.Owner != this ? nameof(memory) : nameof(region));
        ObjectDisposedException.ThrowIf(region.IsDisposed, region);
        RangeCheck.ThrowIfOutside(range.LocalOffset, range.Length, memory.Length);
        RangeCheck.ThrowIfOutside(range.RemoteOffset, range.Length, region.Length);
        TimeSpan limit = timeout ?? Options.TransferTimeout;
        EndpointChecks.ThrowIfInvalidTimeout(limit);
        ThrowIfDisposed();
        if (region.Peer.IsRemoved)
            throw new ArgumentException("The peer was removed.", nameof(region));
        return new StripedTransfer(this, kind, memory, region, range).RunAsync(limit, cancellationToken);
    }

    private static async Task CloseAsync(RmaRailPeer peer)
    {
        peer.IsRemoved = true;
        await Task.WhenAll(peer.Links.Select(static l => l.DisposeAsync().AsTask())).ConfigureAwait(false);
        peer.NoteChange();
    }

    private void ReleaseWords()
    {
        _wordExposures.ForEach(static e => e.Dispose());
        _words.ForEach(static w => w.Dispose());
    }

    private void ThrowIfDisposed()
    {
        if (Volatile.Read(ref _disposed))
            throw Disposed();
    }

    private ObjectDisposedException Disposed() => new(nameof(RmaMultiRail), $"The multi-rail '{Name}' is disposed.");

    private sealed class Counters
    {
        public long Failures;
        public long Recoveries;
        public long Bytes;
        public long Repeated;
    }
}
