using AllocTools.Endpoints;
using AllocTools.Scale.Scenes;
using Xunit;

namespace AllocTools.Scale.Tests;

/// <summary>
/// Tests that no operation costs more the more there is of everything else on a machine, except for those that
/// docs/reliability.md names.
/// </summary>
public sealed class GrowthTests
{
    /// <summary>
    /// Operations that by design cost a step for each slot, thread or class, for the reason in docs/reliability.md.
    /// </summary>
    private static readonly string[] Linear =
    [
        "lose a peer with which an operation runs",
        "remove a peer with which an operation runs",
        "rent an idle region over the largest class, and return it",
        "be refused at the cap",
    ];

    /// <remarks>
    /// A cost that grows like N is 400 times as high among 4,000 as among 10. A busy neighbour adds no processor time
    /// to this thread, except by evicting data from the caches. At each size the fastest of five or more rounds counts,
    /// and slower rounds among 10 only make the factor smaller.
    /// </remarks>
    [Fact]
    public void AnOperationCostsHardlyMoreAmongThousands()
    {
        List<Growth> growths = Measuring.Run([10, 4000], TimeSpan.FromMilliseconds(5));
        Assert.All(Linear, l => Assert.Contains(growths, g => g.Name == l));
        Assert.All(growths, static g =>
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{g.Name}: {g.Costs[0].Fastest:0} ns, {g.Costs[^1].Fastest:0} ns");
            Assert.True(g.Costs[^1].Bytes < 100 + (20 * g.Costs[0].Bytes), $"{g.Name} allocates {g.Costs[0].Bytes:0} bytes among {g.Costs[0].N}, {g.Costs[^1].Bytes:0} among {g.Costs[^1].N}.");
            if (!Linear.Contains(g.Name))
                Assert.True(g.Factor < 60, $"{g.Name} costs {g.Costs[0].Fastest:0} ns among {g.Costs[0].N}, {g.Costs[^1].Fastest:0} ns among {g.Costs[^1].N}.");
        });
    }

    [Theory]
    [InlineData(1000)]
    [InlineData(8000)]
    public void OperationsThatTimeOutOneAfterTheOtherAreLookedAtAFewTimesEach(int operations)
    {
        using Machine machine = new(operations);
        using IScene scene = Open<TimeOuts>(machine);
        scene.Prepare();
        var endpoint = (RmaEndpoint)machine.Endpoint;
        long before = endpoint.LooksForDeadlines;
        Assert.Equal(operations, scene.Run());
        // There is a round over all slots, and an entry of the queue for each timeout. Each operation has ended before
        // its grace period does, so that entry is dropped.
        Assert.InRange(endpoint.LooksForDeadlines - before, operations, 4L * operations);
    }

    [Theory]
    [InlineData(100)]
    [InlineData(8000)]
    public void RenewalsLookAtNoOtherEntryUntilOneMayHaveExpired(int entries)
    {
        using Machine machine = new(10);
        using RenewalOfName scene = RenewalOfName.Of(machine, entries);
        scene.Run();
        Assert.Equal(0, scene.Looks);
        // All leases end. The next check drops them, and looks at each once.
        machine.Clock.Advance(TimeSpan.FromHours(2));
        Assert.Empty(scene.Read());
        Assert.Equal(entries, scene.Looks);
    }

    private static IScene Open<T>(Machine machine)
        where T : INamedScene => T.Open(machine);
}
