using System.Buffers;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>The part about requests, whose outcome is known in advance.</summary>
internal sealed partial class PoolModel
{
    public void Rent(long length)
    {
        RmaBuffer buffer = default;
        Request(length, () =>
        {
            buffer = Pool.Rent(length);
            return true;
        }, () => buffer, throwsAtTheCap: true);
    }

    public void TryRent(long length)
    {
        RmaBuffer buffer = default;
        Request(length, () => Pool.TryRent(length, out buffer), () => buffer, throwsAtTheCap: false);
    }

    public void RentAsync(long length, bool isCancelled)
    {
        var cancellation = new CancellationTokenSource();
        if (isCancelled)
        {
            cancellation.Cancel();
            ValueTask<RmaBuffer> cancelled = default;
            Exception? error = Record.Exception(() => { cancelled = Pool.RentAsync(length, cancellation.Token); });
            if (error is null)
                Assert.True(cancelled.IsCanceled);
            else
                AssertSays(_oracle.OfRequest(length), error);
            return;
        }
        Task<RmaBuffer> rent = Task.FromResult(default(RmaBuffer));
        Outcome expected = _oracle.OfRequest(length);
        if (expected.Kind == OutcomeKind.NoRoom && _oracle.NeverFits(length))
        {
            Request(length, () => Pool.RentAsync(length, cancellation.Token).AsTask().GetAwaiter().GetResult().IsRented, () => default, throwsAtTheCap: true);
            return;
        }
        if (expected.Kind == OutcomeKind.NoRoom)
        {
            // No two requests have the same deadline.
            Time.Advance(TimeSpan.FromMilliseconds(1));
            Task<RmaBuffer> task = Pool.RentAsync(length, cancellation.Token).AsTask();
            Waiting.Add(new WaitingRent(length, Shape.OwnerOf(length), task, cancellation, Time.GetUtcNow() + PoolShape.RentTimeout));
            return;
        }
        Request(length, () =>
        {
            rent = Pool.RentAsync(length, cancellation.Token).AsTask();
            // Another thread does the work that calls the provider.
            Assert.True(rent.IsCompleted || expected.Kind == OutcomeKind.Growth, "there is room, and it waits");
            Assert.True(SpinWait.SpinUntil(() => rent.IsCompleted && !Pool.ServesWaiters, SettleLimit), "nothing is registered for it");
            rent.GetAwaiter().GetResult();
            return true;
        }, () => rent.Result, throwsAtTheCap: false);
    }

    /// <summary>Registers memory of the caller.</summary>
    public void Register(int length)
    {
        byte[] memory = new byte[length];
        int made = Context.Made;
        int armed = Context.FailNext;
        bool fits = _oracle.Fits(length, Shape.User);
        RmaBuffer buffer = default;
        Exception? error = Record.Exception(() => { buffer = Pool.Register(memory); });
        if (length == 0 || length > Cap)
            Assert.IsType<ArgumentOutOfRangeException>(error);
        else if (Life != LifeState.Open)
            Assert.IsType<ObjectDisposedException>(error);
        else if (!fits)
            Assert.IsType<RmaPoolExhaustedException>(error);
        else if (armed > 0)
            Assert.IsType<RmaRegistrationException>(error);
        else
            Assert.Null(error);
        Assert.Equal(error is null ? made + 1 : made, Context.Made);
        if (error is not null)
            return;
        MadeAside++;
        using MemoryHandle pin = memory.AsMemory().Pin();
        unsafe
        {
            Assert.Equal((nint)pin.Pointer, buffer.Address);
        }
        Adopt(buffer, length, Shape.User);
    }

    private void Request(long length, Func<bool> rent, Func<RmaBuffer> buffer, bool throwsAtTheCap)
    {
        Outcome expected = _oracle.OfRequest(length);
        int armed = Context.FailNext;
        int made = Context.Made;
        int refused = Context.Refused;
        int undone = Context.Undone;
        bool isServed = false;
        Exception? error = Record.Exception(() => { isServed = rent(); });
        if (expected.Kind == OutcomeKind.NoRoom)
        {
            Assert.False(isServed);
            Assert.Equal(throwsAtTheCap ? typeof(RmaPoolExhaustedException) : null, error?.GetType());
            Assert.Equal(made, Context.Made);
            Rejected++;
            return;
        }
        if (expected.Kind == OutcomeKind.Growth && error is RmaRegistrationException)
        {
            AssertRefusalIsFinal(expected.Owner, Context.Refused - refused);
            Assert.Equal(made, Context.Made);
            return;
        }
        if (error is not null || expected.Kind is OutcomeKind.BadLength or OutcomeKind.NotOpen)
        {
            AssertSays(expected, error);
            return;
        }
        Assert.True(isServed, "there is room, and it is refused");
        if (expected.Kind == OutcomeKind.Growth)
            AssertGrowth(expected.Owner, armed, buffer().Region.Length);
        Assert.Equal(expected.Kind == OutcomeKind.Growth ? made + 1 : made, Context.Made);
        // Idle memory is given back only if room is needed.
        if (expected.Kind == OutcomeKind.Hit && expected.Owner == Shape.OwnerOf(length))
            Assert.Equal(undone, Context.Undone);
        Assert.Equal(expected.Owner, OwnerOf(buffer()));
        Adopt(buffer(), length, expected.Owner);
        Served++;
    }

    private static void AssertSays(Outcome expected, Exception? error)
    {
        Type? type = expected.Kind switch
        {
            OutcomeKind.BadLength => typeof(ArgumentOutOfRangeException),
            OutcomeKind.NotOpen => typeof(ObjectDisposedException),
            _ => null,
        };
        if (type is null && error is not null)
            Assert.Fail($"{expected} was to be, and it says: {error}");
        Assert.Equal(type, error?.GetType());
    }

    private void AssertGrowth(int owner, int armed, long length)
    {
        if (owner == Shape.Direct)
        {
            Assert.Equal(0, armed);
            return;
        }
        Assert.InRange(armed, 0, 1);
        long one = RoundToPages(Shape.Classes[owner].BlockSize);
        Assert.InRange(length, one, armed == 0 ? Math.Max(one, RoundToPages(Shape.MaxSlabBytes)) : one);
        Assert.Equal(0, length % PageSize);
    }

    /// <summary>Asserts that a single block is tried if many are refused.</summary>
    private void AssertRefusalIsFinal(int owner, int refusals)
    {
        if (owner == Shape.Direct || Context.LastRefused != RoundToPages(Shape.Classes[owner].BlockSize))
            Assert.Equal(owner == Shape.Direct ? 1 : 2, refusals);
        else
            Assert.InRange(refusals, 1, 2);
    }
}
