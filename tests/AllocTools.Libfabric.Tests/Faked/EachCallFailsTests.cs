using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests that every call into libfabric may fail: at up to four of the times it is made, in each mode, and in at least
/// one mode with each error that it may return.
/// </summary>
public sealed class EachCallFailsTests
{
    private static readonly FakeMode Bound = new(
        FiMrMode.FI_MR_RAW | FiMrMode.FI_MR_ENDPOINT | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_LOCAL, FakeMode.RawKeySize);

    /// <summary>
    /// Raw keys, bound registrations and descriptors; keys that the application picks; keys that the provider picks.
    /// Together, these modes make the binding use every call that it knows.
    /// </summary>
    private static readonly (FakeMode Mode, RmaProgress Progress)[] Modes =
    [
        (Bound, RmaProgress.Endpoint),
        (Bound, RmaProgress.Caller),
        (FakeMode.Tcp, RmaProgress.Endpoint),
        (FakeMode.Tcp, RmaProgress.Caller),
        (FakeMode.Efa, RmaProgress.Endpoint),
    ];

    /// <summary>Each call with its name in messages, and the errors that it may return.</summary>
    private static readonly (string Call, string Told, int[] Errors)[] Calls =
    [
        ("fi_getinfo", "fi_getinfo", [FiErrno.FI_ENOMEM, FiErrno.FI_ENOSYS, FiErrno.FI_EINVAL]),
        ("fi_dupinfo", "fi_dupinfo", [FiErrno.FI_ENOMEM]),
        ("fi_fabric", "fi_fabric", [FiErrno.FI_ENOMEM, FiErrno.FI_EINVAL, FiErrno.FI_ENODEV]),
        ("fi_domain", "fi_domain", [FiErrno.FI_ENOMEM, FiErrno.FI_EINVAL, FiErrno.FI_EBUSY]),
        ("fi_av_open", "fi_av_open", [FiErrno.FI_ENOMEM, FiErrno.FI_ENOSYS, FiErrno.FI_EINVAL]),
        ("fi_cq_open", "fi_cq_open", [FiErrno.FI_ENOMEM, FiErrno.FI_EINVAL]),
        ("fi_endpoint", "fi_endpoint", [FiErrno.FI_ENOMEM, FiErrno.FI_EBUSY, FiErrno.FI_EINVAL]),
        ("fi_ep_bind av", "fi_ep_bind (address vector)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM]),
        ("fi_ep_bind cq", "fi_ep_bind (completion queue)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM]),
        ("fi_enable", "fi_enable", [FiErrno.FI_ENOMEM, FiErrno.FI_EADDRINUSE, FiErrno.FI_EOPBADSTATE]),
        ("fi_getname", "fi_getname", [FiErrno.FI_ETOOSMALL, FiErrno.FI_EINVAL]),
        ("fi_mr_regattr", "fi_mr_regattr", [FiErrno.FI_ENOMEM, FiErrno.FI_ENOSPC, FiErrno.FI_EFAULT, FiErrno.FI_EACCES, FiErrno.FI_EBADFLAGS, FiErrno.FI_EKEYREJECTED, FiErrno.FI_EOPNOTSUPP]),
        ("fi_mr_bind", "fi_mr_bind", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM]),
        ("fi_mr_enable", "fi_mr_enable", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_EOPBADSTATE]),
        ("fi_mr_raw_attr", "fi_mr_raw_attr", [FiErrno.FI_EINVAL, FiErrno.FI_ETOOSMALL]),
        ("fi_mr_map_raw", "fi_mr_map_raw", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM]),
        ("fi_mr_unmap_key", "fi_mr_unmap_key", [FiErrno.FI_EINVAL]),
        ("fi_av_insert", "fi_av_insert", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_EADDRNOTAVAIL]),
        ("fi_av_remove", "fi_av_remove", [FiErrno.FI_EINVAL]),
        ("fi_writemsg", "Write of 4.9 KiB (5,000 bytes)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_ECONNREFUSED, FiErrno.FI_EOPBADSTATE]),
        ("fi_read", "Read of 4.9 KiB (5,000 bytes)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_ECONNREFUSED, FiErrno.FI_EOPBADSTATE]),
        ("fi_sendmsg", "Send of 4.9 KiB (5,000 bytes)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_ECONNREFUSED, FiErrno.FI_EOPBADSTATE]),
        ("fi_recv", "Receive of 4.9 KiB (5,000 bytes)", [FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM, FiErrno.FI_EOPBADSTATE]),
        ("fi_cq_read", "fi_cq_read", [FiErrno.FI_EIO, FiErrno.FI_EOVERRUN]),
        ("fi_cq_readerr", "fi_cq_readerr", [FiErrno.FI_EIO]),
    ];

    /// <summary>Calls that fail to close an object.</summary>
    private static readonly (string Call, string Told)[] Closes =
    [
        ("fi_close mr", "fi_close (registration)"),
        ("fi_close ep", "fi_close (endpoint)"),
        ("fi_close cq", "fi_close (completion queue)"),
        ("fi_close av", "fi_close (address vector)"),
        ("fi_close domain", "fi_close (domain)"),
        ("fi_close fabric", "fi_close (fabric)"),
    ];

    /// <summary>Errors that are no failure: the call is repeated, need not succeed, or can be done without.</summary>
    private static readonly (string Call, int[] Errors)[] Harmless =
    [
        ("fi_writemsg", [FiErrno.FI_EAGAIN]),
        ("fi_read", [FiErrno.FI_EAGAIN]),
        ("fi_sendmsg", [FiErrno.FI_EAGAIN]),
        ("fi_recv", [FiErrno.FI_EAGAIN]),
        ("fi_cq_read", [FiErrno.FI_EAGAIN, FiErrno.FI_EINTR]),
        ("fi_cq_readerr", [FiErrno.FI_EAGAIN]),
        ("fi_mr_regattr", [FiErrno.FI_ENOKEY]),
        ("fi_cq_open", [FiErrno.FI_ENOSYS, FiErrno.FI_EINVAL, FiErrno.FI_ENOMEM]),
        ("fi_control cq", [FiErrno.FI_ENOSYS, FiErrno.FI_EINVAL]),
        ("fi_trywait", [FiErrno.FI_ENOSYS, FiErrno.FI_EINVAL, FiErrno.FI_EAGAIN]),
    ];

    public static TheoryData<string, RmaProgress, string> Failing => Combine(Calls.Select(c => c.Call));

    public static TheoryData<string, RmaProgress, string> Closing => Combine(Closes.Select(c => c.Call));

    public static TheoryData<string, RmaProgress, string> Passing => Combine(Harmless.Select(c => c.Call), isHarmless: true);

    [Fact]
    public async Task EveryCallOfALifeIsInOneOfTheTables()
    {
        HashSet<string> made = [];
        foreach ((FakeMode mode, RmaProgress progress) in Modes)
        {
            using var world = new FakeWorld(mode, progress: progress);
            WholeLife life = await LiveAsync(world);
            Assert.Equal("", life.Told);
            made.UnionWith(world.Calls.Keys);
        }
        Assert.Equal([.. Calls.Select(c => c.Call).Concat(Closes.Select(c => c.Call)).Concat(Harmless.Select(c => c.Call)).Append("fi_cancel").Distinct().Order()], made.Order());
    }

    [Theory]
    [MemberData(nameof(Failing))]
    public async Task ACallThatFailsIsNamedAndLeavesNothing(string mode, RmaProgress progress, string call)
    {
        (_, string told, int[] errors) = Calls.Single(c => c.Call == call);
        // If a queue has a descriptor, opening it is tried twice.
        bool hasWaitObjects = call != "fi_cq_open";
        int[] times = await TimesAsync(mode, progress, call, hasWaitObjects);
        // Unless everything is run, each call fails with only one of the errors, and the modes take turns.
        int turn = Array.FindIndex(Modes, m => m.Mode.ToString() == mode && m.Progress == progress);
        int calls = 0;
        foreach (int k in times)
        {
            foreach (int error in TestExtent.IsFull ? errors : [errors[turn++ % errors.Length]])
            {
                calls++;
                using var world = new FakeWorld(FakeMode.Parse(mode), hasWaitObjects: hasWaitObjects, progress: progress);
                world.Fail(call, error, k);
                WholeLife life = await LiveAsync(world);
                string what = $"{call} for the {k}. time with {FiErrno.NameOf(error)}: {life.Told}";
                Assert.True(life.Told.Contains(told, StringComparison.Ordinal) && life.Told.Contains(FiErrno.NameOf(error), StringComparison.Ordinal), what);
                Assert.True(!life.Opened || life.ServedAtLast || call is "fi_cq_read" or "fi_cq_readerr", what);
                Assert.True(life.Blocks.Mapped == 0, $"{life.Blocks.Mapped} bytes stay mapped: {what}");
                world.AssertClean();
                await AssertServesAsync(world);
            }
        }
        TestContext.Current.TestOutputHelper!.WriteLine($"{calls} calls failed");
    }

    [Theory]
    [MemberData(nameof(Closing))]
    public async Task WhatCantBeClosedKeepsWhatItDependsOnAndItsPages(string mode, RmaProgress progress, string call)
    {
        int[] times = await TimesAsync(mode, progress, call);
        foreach (int k in times)
        {
            var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
            world.Fail(call, FiErrno.FI_EBUSY, k);
            WholeLife life = await LiveAsync(world);
            string what = $"{call} for the {k}. time: {life.Told}";
            Assert.True(life.Told.Contains(Closes.Single(c => c.Call == call).Told, StringComparison.Ordinal), what);
            Assert.True(life.Told.Contains(nameof(FiErrno.FI_EBUSY), StringComparison.Ordinal), what);
            Assert.True(life.ServedAtLast, what);
            Assert.True(world.OpenObjects > 0, what);
            Assert.Equal("", world.Misuse);
            // The registration of an exposure keeps its slab, which is registered, too.
            Assert.InRange(world.OpenRegistrations, call == "fi_close mr" ? 1 : 0, call == "fi_close mr" ? 2 : 0);
            // The pages of a registration that still exists must stay mapped.
            Assert.True(call == "fi_close mr" ? life.Blocks.Mapped > 0 : life.Blocks.Mapped == 0, what);
            await AssertServesAsync(world);
        }
        TestContext.Current.TestOutputHelper!.WriteLine($"{times.Length} calls failed");
    }

    [Theory]
    [MemberData(nameof(Passing))]
    public async Task WhatIsNotAFailureIsNotReported(string mode, RmaProgress progress, string call)
    {
        // If the provider picks keys itself, a key is never in use already.
        if (call == "fi_mr_regattr" && FakeMode.Parse(mode).Is(FiMrMode.FI_MR_PROV_KEY))
            return;
        foreach (int k in await TimesAsync(mode, progress, call))
        {
            foreach (int error in Harmless.Single(c => c.Call == call).Errors)
            {
                using var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
                world.Fail(call, error, k);
                WholeLife life = await LiveAsync(world);
                Assert.Equal("", life.Told);
                Assert.Equal(0, life.Blocks.Mapped);
            }
        }
    }

    // The receive stays posted: it swallows the next message, and its buffer is held until then.
    [Theory]
    [InlineData(nameof(FiErrno.FI_ENOENT))]
    [InlineData(nameof(FiErrno.FI_ENOSYS))]
    [InlineData(nameof(FiErrno.FI_EOPNOTSUPP))]
    public async Task AReceiveThatCantBeGivenUpHoldsItsBuffer(string errorName)
    {
        int error = errorName switch
        {
            nameof(FiErrno.FI_ENOENT) => FiErrno.FI_ENOENT,
            nameof(FiErrno.FI_ENOSYS) => FiErrno.FI_ENOSYS,
            _ => FiErrno.FI_EOPNOTSUPP,
        };
        using var world = new FakeWorld(FakeMode.Tcp);
        world.Fail("fi_cancel", error);
        WholeLife life = await LiveAsync(world);
        Assert.Single(life.Failures);
        Assert.IsType<RmaTimeoutException>(life.Failures[0]);
        Assert.True(life.ServedAtLast);
        Assert.Equal(0, life.Blocks.Mapped);
    }

    private static TheoryData<string, RmaProgress, string> Combine(IEnumerable<string> calls, bool isHarmless = false)
    {
        TheoryData<string, RmaProgress, string> data = [];
        foreach (string call in calls)
        {
            foreach ((FakeMode mode, RmaProgress progress) in Modes)
            {
                if (IsMade(mode, call) && !(isHarmless && progress == RmaProgress.Caller && IsForWaiting(call)))
                    data.Add(mode.ToString(), progress, call);
            }
        }
        return data;
    }

    /// <summary>Whether a call is made in a mode; <see cref="TimesAsync"/> asserts that it is.</summary>
    private static bool IsMade(FakeMode mode, string call) => call switch
    {
        "fi_mr_bind" or "fi_mr_enable" => mode.Is(FiMrMode.FI_MR_ENDPOINT),
        "fi_mr_raw_attr" or "fi_mr_map_raw" or "fi_mr_unmap_key" => mode.Is(FiMrMode.FI_MR_RAW),
        _ => true,
    };

    /// <summary>Whether a call is needed only to wait. A caller who makes progress does not wait.</summary>
    private static bool IsForWaiting(string call) => call is "fi_cq_open" or "fi_control cq" or "fi_trywait";

    /// <summary>
    /// Returns the first time that a life makes a call, the second, one in the middle, and the last that certainly
    /// occurs.
    /// </summary>
    private static async Task<int[]> TimesAsync(string mode, RmaProgress progress, string call, bool hasWaitObjects = true)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), hasWaitObjects: hasWaitObjects, progress: progress);
        await new WholeLife(world).RunAsync(WholeLife.FailingCycles);
        int last = (int)world.Calls[call];
        Assert.True(last > 0);
        return call switch
        {
            // How often a queue is read differs each time.
            "fi_cq_read" => [1, 2, 3, 4],
            // A queue without a descriptor to wait on is opened again, so that every other failure is harmless.
            "fi_cq_open" when !hasWaitObjects && progress == RmaProgress.Endpoint => [2, 4],
            // The number of calls differs here, too; the first one is made when the queue is opened.
            "fi_trywait" => [1],
            _ => [.. new[] { 1, 2, (last / 2) + 1, last }.Where(k => k <= last).Distinct()],
        };
    }

    private static async Task<WholeLife> LiveAsync(FakeWorld world)
    {
        WholeLife life = new(world);
        await life.RunAsync();
        return life;
    }

    private static async Task AssertServesAsync(FakeWorld world)
    {
        WholeLife life = await LiveAsync(world);
        Assert.Equal("", life.Told);
        Assert.True(life.ServedAtLast);
    }
}
