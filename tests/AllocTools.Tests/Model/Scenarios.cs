using AllocTools.Tests.Model.Steps;
using CsCheck;

namespace AllocTools.Tests.Model;

/// <summary>Random scenarios. A new kind of step is a record in Steps and a line in <see cref="AnyStep"/>.</summary>
internal static class Scenarios
{
    /// <summary>The number of threads that run steps; a pool's magazines belong to them.</summary>
    public const int Threads = 3;

    // A waiter can be overtaken 64 times; with fewer rents than that, the model doesn't have to count.
    private const int MaxSteps = 49;

    private static readonly Gen<int> Number = Gen.Int[0, 30];

    private static readonly Gen<long> Cap = Gen.OneOf<long>(65536, 4096, 12288, 100_000, 262_144, 1 << 20, 4 << 20);

    private static readonly Gen<LengthPick> Length = Gen.Select(
        Gen.Frequency(
            (6, Gen.Const(LengthKind.Block)),
            (4, Gen.Const(LengthKind.One)),
            (2, Gen.Const(LengthKind.UnderBlock)),
            (3, Gen.Const(LengthKind.OverBlock)),
            (4, Gen.Const(LengthKind.Direct)),
            (2, Gen.Const(LengthKind.HalfCap)),
            (1, Gen.Const(LengthKind.Cap)),
            (1, Gen.OneOf(LengthKind.OverCap, LengthKind.Zero, LengthKind.Negative))),
        Gen.Int[0, 7],
        (kind, number) => new LengthPick(kind, number));

    private static readonly Gen<PoolShape> AnyShape = Gen.Select(
        Cap,
        Gen.Select(Gen.OneOf<long>(4096, 64, 192, 1024, 8192, 12288, 16384, 65536, 100_032), Gen.OneOf(0, 0, 1, 2, 40)).List[1, 4],
        Gen.OneOf<long>(65536, 200_000, 2 << 20),
        Gen.OneOf<long>(0, 20_000, 65536, 1 << 20),
        Gen.Frequency((3, Gen.Int[0, 2].Select(s => (int?)s)), (1, Gen.Const((int?)null))),
        Gen.OneOf(RmaIsolation.Shared, RmaIsolation.PerExposure),
        Gen.OneOf(Scrub.None, Scrub.Clear, Scrub.Poison),
        (cap, classes, maxSlab, maxIdleDirect, retention, isolation, scrub) => PoolShape.Of(cap, classes, maxSlab, maxIdleDirect, retention, isolation, scrub));

    private static readonly Gen<Step> AnyStep = Gen.Frequency<Step>(
        (24, Length.Select(l => (Step)new Rent(l))),
        (24, Length.Select(l => (Step)new TryRent(l))),
        (28, Gen.Select(Length, Gen.Frequency((9, Gen.Const(false)), (1, Gen.Const(true))), (l, isCancelled) => (Step)new RentAsync(l, isCancelled))),
        (48, Gen.Select(Number, Gen.Bool, (b, byPool) => (Step)new Return(b, byPool))),
        (6, Number.Select(w => (Step)new Cancel(w))),
        (6, Number.Select(b => (Step)new UseAfterReturn(b))),
        (6, Gen.Select(Number, Gen.OneOf(1, 2, 256), (b, times) => (Step)new Hold(b, times))),
        (4, Gen.Select(Number, Number, (b, hold) => (Step)new Quarantine(b, hold))),
        (12, Number.Select(b => (Step)new QuarantineAll(b))),
        (4, Gen.Select(Number, Number, (b, hold) => (Step)new Release(b, hold))),
        (6, Number.Select(b => (Step)new ReleaseAll(b))),
        (6, Number.Select(b => (Step)new Expose(b))),
        (4, Gen.Select(Number, Number, (b, e) => (Step)new EndExposure(b, e))),
        (10, Gen.Int[1, 6].Select(t => (Step)new Advance(t))),
        (8, Gen.Int[1, 3].Select(c => (Step)new FailRegistrations(c))),
        (6, Gen.OneOf(1, 100, 5000, 40_000, 0).Select(l => (Step)new Register(l))),
        (4, Gen.Const((Step)new WarmUp())),
        (4, Cap.Select(c => (Step)new ChangeCap(c))),
        (4, Gen.Int[1, Threads - 1].Select(t => (Step)new EndThread(t))),
        (1, Gen.Const((Step)new Drain())),
        (1, Gen.Const((Step)new Close())));

    private static readonly Gen<int> Thread = Gen.Frequency((3, Gen.Const(0)), (1, Gen.Int[1, Threads - 1]));

    /// <summary>Any scenario; many begin with a warm-up.</summary>
    public static Gen<Scenario> Any { get; } = Gen.Select(
        AnyShape,
        Gen.Bool,
        Gen.Select(AnyStep, Thread, (step, thread) => step with { Thread = step is EndThread ? 0 : thread }).List[1, MaxSteps],
        (shape, isWarm, steps) => new Scenario(shape, isWarm ? [new WarmUp(), .. steps] : steps));
}
