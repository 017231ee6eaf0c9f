using System.Collections.Concurrent;
using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>Has memory registered for requests whose callers must not be blocked by the provider, on threads of its own.</summary>
/// <remarks>
/// A size class has one thread, since it grows by one registration at a time; the direct regions have some. They begin when
/// they are needed and end after a while without work. The thread pool would not do: callers who block on their tasks may
/// hold all its threads.
/// Until it is served a request stands in the <see cref="WaiterQueue"/>, where its token, its time-out or the end of the
/// pool may take it out; what was registered for it then stays with the pool. One for which there is no room goes on
/// waiting there.
/// </remarks>
internal sealed class Registrar
{
    private const int ThreadsForDirect = 4;

    private readonly PoolEngine _engine;
    private readonly ColdRequests _requests;
    private readonly WaiterQueue _waiters;
    private readonly Desk[] _desks;

    public Registrar(PoolEngine engine, ColdRequests requests, WaiterQueue waiters)
    {
        _engine = engine;
        _requests = requests;
        _waiters = waiters;
        _desks = [.. Enumerable.Range(1, engine.ClassCount).Select(n => new Desk(this, n == engine.ClassCount ? ThreadsForDirect : 1))];
    }

    /// <summary>A request is being served, or is about to be.</summary>
    public bool IsAtWork => Array.Exists(_desks, d => d.IsAtWork);

    /// <summary>Serves a request that the queue of waiters knows.</summary>
    public void Add(Waiter waiter) => _desks[waiter.ClassIndex].Add(waiter);

    /// <summary>No requests will come any more.</summary>
    public void Close() => Array.ForEach(_desks, d => d.Close());

    private void Serve(Waiter waiter)
    {
        if (!_waiters.IsWaiting(waiter))
            return;
        bool isTaken = false;
        RmaBuffer buffer = default;
        Exception? error = null;
        try
        {
            // Listeners of Activity.CurrentChanged run here.
            Activity.Current = waiter.Span;
            isTaken = _requests.TryTakeByRegistering(waiter, out buffer);
        }
        catch (Exception e)
        {
            // Whatever a provider throws belongs to the request; here it would end the process.
            error = e;
        }
        finally
        {
            _engine.Incidents.Guard("leaving a request's span", static () => Activity.Current = null);
        }
        if (isTaken || error is not null)
            _waiters.Complete(waiter, buffer, error);
        else
            _requests.Wait(waiter);
    }

    /// <summary>The requests of one size class, or the direct ones, and the threads that serve them.</summary>
    private sealed class Desk
    {
        private readonly Registrar _registrar;
        private readonly ConcurrentQueue<Waiter> _requests = new();
        private readonly OnDemandThread[] _threads;

        public Desk(Registrar registrar, int threads)
        {
            _registrar = registrar;
            _threads = [.. Enumerable.Range(0, threads).Select(_ => new OnDemandThread($"{registrar._engine.Name} registers", Work))];
        }

        public bool IsAtWork => !_requests.IsEmpty || Array.Exists(_threads, t => t.IsBusy);

        public void Add(Waiter waiter)
        {
            _requests.Enqueue(waiter);
            if (Array.Find(_threads, t => !t.IsBusy) is { } free)
                free.Signal();
            else
                // Some may be in the provider for long; one of the others may have seen an empty queue just before.
                Array.ForEach(_threads, t => t.Signal());
        }

        public void Close() => Array.ForEach(_threads, t => t.End());

        private TimeSpan Work()
        {
            while (_requests.TryDequeue(out Waiter? waiter))
                _registrar._engine.Incidents.Guard("serving a request", () => _registrar.Serve(waiter));
            return Timeout.InfiniteTimeSpan;
        }
    }
}
