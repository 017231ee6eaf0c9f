using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>The part about waiters. A thread of the runtime serves them, so steps wait until it has nothing left to do.</summary>
internal sealed partial class PoolModel
{
    private static readonly TimeSpan SettleLimit = TimeSpan.FromSeconds(20);

    private int _refusedAtRest;

    /// <summary>Waits until the pool has done the work that the step causes, and collects the results of the waiters.</summary>
    public void Settle()
    {
        if (!SpinWait.SpinUntil(IsSettled, SettleLimit))
            Assert.Fail($"{Waiting.Count(w => !w.Task.IsCompleted)} wait, and the pool says {Statistics.PendingRequests}; it {(Pool.ServesWaiters ? "goes on for ever" : "does nothing")}");
        for (int i = 0; i < Waiting.Count; i++)
        {
            WaitingRent rent = Waiting[i];
            if (!rent.Task.IsCompleted)
                continue;
            if (rent.Task.IsCompletedSuccessfully)
            {
                Assert.DoesNotContain(Waiting.Take(i), older => older.Owner == rent.Owner);
                Adopt(rent.Task.Result, rent.Length, OwnerOf(rent.Task.Result));
                Served++;
            }
            else
            {
                TakeFailure(rent);
            }
            Waiting.RemoveAt(i--);
        }
        _refusedAtRest = Context.Refused;
        if (Life == LifeState.Open)
            AssertNobodyWaitsInVain();
    }

    private bool IsSettled()
    {
        DateTimeOffset now = Time.GetUtcNow();
        return Waiting.TrueForAll(w => w.Task.IsCompleted || (!w.IsCancelled && !w.IsOverdue(now) && Life == LifeState.Open))
            && !Pool.ServesWaiters
            && Statistics.PendingRequests == Waiting.Count(w => !w.Task.IsCompleted)
            && !Pool.ServesWaiters;
    }

    private void TakeFailure(WaitingRent rent)
    {
        switch (Record.Exception(() => rent.Task.GetAwaiter().GetResult()))
        {
            case RmaPoolExhaustedException:
                Assert.True(rent.IsOverdue(Time.GetUtcNow()) || rent.Length > Cap, "it was refused before its time");
                Rejected++;
                break;
            case OperationCanceledException:
                Assert.True(rent.IsCancelled, "nobody cancelled it");
                break;
            case RmaRegistrationException:
                Assert.True(Context.Refused > _refusedAtRest, "no registration was refused");
                break;
            case ObjectDisposedException:
                Assert.NotEqual(LifeState.Open, Life);
                break;
            case { } other:
                Assert.Fail(other.ToString());
                break;
        }
    }

    /// <summary>Asserts that no waiter at the head of its queue could be served by now.</summary>
    private void AssertNobodyWaitsInVain()
    {
        foreach (WaitingRent head in Waiting.DistinctBy(w => w.Owner))
            Assert.Equal(new Outcome(OutcomeKind.NoRoom), _oracle.OfWaiter(head.Length));
    }
}
