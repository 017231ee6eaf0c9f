using AllocTools.Providers;

namespace AllocTools.MultiRail;

/// <summary>Lists every configuration key of a multi-rail. A test compares the list with the properties of the options.</summary>
internal static class MultiRailOptionKeys
{
    public static RmaOptionKeys<RmaMultiRailOptions> All { get; } = new RmaOptionKeys<RmaMultiRailOptions>()
        .List(
            nameof(RmaMultiRailOptions.Rails),
            Add,
            new RmaOptionKeys<RmaRailOptions>()
                .Text(nameof(RmaRailOptions.Name), (o, v) => o.Name = v)
                .Text(nameof(RmaRailOptions.Pool), (o, v) => o.Pool = v))
        .Choice<RmaRailPolicy>(nameof(RmaMultiRailOptions.Policy), (o, v) => o.Policy = v)
        .Size(nameof(RmaMultiRailOptions.StripeLength), (o, v) => o.StripeLength = v)
        .Integer(nameof(RmaMultiRailOptions.StripesPerRail), (o, v) => o.StripesPerRail = v)
        .LimitedDuration(nameof(RmaMultiRailOptions.StripeTimeout), TimeSpan.FromHours(1), (o, v) => o.StripeTimeout = v)
        .Duration(nameof(RmaMultiRailOptions.TransferTimeout), (o, v) => o.TransferTimeout = v)
        .LimitedDuration(nameof(RmaMultiRailOptions.Delay), TimeSpan.FromHours(1), (o, v) => o.Delay = v)
        .LimitedDuration(nameof(RmaMultiRailOptions.MaxDelay), TimeSpan.FromHours(1), (o, v) => o.MaxDelay = v)
        .LimitedDuration(nameof(RmaMultiRailOptions.LateWriteTime), TimeSpan.FromHours(1), (o, v) => o.LateWriteTime = v);

    private static RmaRailOptions Add(RmaMultiRailOptions options)
    {
        var rail = new RmaRailOptions();
        options.Rails.Add(rail);
        return rail;
    }
}
