using System.Collections.Concurrent;
using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>Registers memory on threads of its own, for requests whose callers must not be blocked by the provider.</summary>
/// <remarks>
/// A size class has one thread, because it grows by one registration at a time; the direct regions have several. The
/// threads start when they are needed and end after a while without work. The thread pool can't be used, because
/// callers that block on their tasks may hold all its threads.
/// Until it is served, a request is in the <see cref="WaiterQueue"/>, where its token, its time-out or the end of the
/// pool may take it out; memory that was registered for it then stays with the pool. A request for which there is no
/// room continues to wait there.
/// </remarks>
internal sealed class Registrar
{
    private const int ThreadsForDirect = 4;

    private readonly PoolIncidents _incidents;
    private readonly WaiterLine _line;
    private readonly BlockFinder _finder;
    private readonly WaiterQueue _waiters;
    private readonly ClassRequests[] _byClass;

    public Registrar(PoolSettings settings, PoolIncidents incidents, SlabOwners owners, WaiterLine line, BlockFinder finder, WaiterQueue waiters)
    {
        _incidents = incidents;
        _line = line;
        _finder = finder;
        _waiters = waiters;
        _byClass = [.. owners.Classes.Select(_ => new ClassRequests(this, settings.Name, 1)), new ClassRequests(this, settings.Name, ThreadsForDirect)];
    }

    /// <summary>Whether a request is being served, or is about to be.</summary>
    public bool IsAtWork => Array.Exists(_byClass, r => r.IsAtWork);

    /// <summary>Serves a request that the queue of waiters knows.</summary>
    public void Add(Waiter waiter) => _byClass[waiter.ClassIndex].Add(waiter);

    /// <summary>Ends the threads, because no more requests will come.</summary>
    public void Close() => Array.ForEach(_byClass, r => r.Close());

    private void Serve(Waiter waiter)
    {
        if (!_line.IsWaiting(waiter))
            return;
        bool isTaken = false;
        RmaBuffer buffer = default;
        Exception? error = null;
        try
        {
            // Listeners of Activity.CurrentChanged run here.
            Activity.Current = waiter.Span;
            isTaken = _finder.TryTakeByRegistering(waiter, out buffer);
        }
        catch (Exception e)
        {
            // Whatever a provider throws belongs to the request; on this thread it would end the process.
            error = e;
        }
        finally
        {
            _incidents.Guard("leaving a request's span", static () => Activity.Current = null);
        }
        if (isTaken || error is not null)
            _waiters.Complete(waiter, buffer, error);
        else
            _waiters.Wait(waiter);
    }

    /// <summary>The requests of one size class, or the direct ones, and the threads that serve them.</summary>
    private sealed class ClassRequests
    {
        private readonly Registrar _registrar;
        private readonly ConcurrentQueue<Waiter> _requests = new();
        private readonly OnDemandThread[] _threads;

        public ClassRequests(Registrar registrar, string pool, int threads)
        {
            _registrar = registrar;
            _threads = [.. Enumerable.Range(0, threads).Select(_ => new OnDemandThread($"{pool} registers", Work))];
        }

        public bool IsAtWork => !_requests.IsEmpty || Array.Exists(_threads, t => t.IsBusy);

        public void Add(Waiter waiter)
        {
            _requests.Enqueue(waiter);
            if (Array.Find(_threads, t => !t.IsBusy) is { } free)
                free.Signal();
            else
                // Some may be in the provider for long, and one of the others may have seen an empty queue just before.
                Array.ForEach(_threads, t => t.Signal());
        }

        public void Close() => Array.ForEach(_threads, t => t.End());

        private TimeSpan Work()
        {
            while (_requests.TryDequeue(out Waiter? waiter))
                _registrar._incidents.Guard("serving a request", () => _registrar.Serve(waiter));
            return Timeout.InfiniteTimeSpan;
        }
    }
}
