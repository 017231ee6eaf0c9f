using AllocTools.Caching;
using AllocTools.Providers;

namespace AllocTools.Hosting.Configuration;

/// <summary>Every key of a pool's section except those of the provider. A test compares it with the properties of the options.</summary>
internal static class OptionKeys
{
    /// <summary>A key of the section that is not an option of the pool: with <c>true</c>, unknown keys are ignored.</summary>
    public const string AllowUnknownKeys = nameof(AllowUnknownKeys);

    public static RmaOptionKeys<RmaMemoryPoolOptions> Pool { get; } = new RmaOptionKeys<RmaMemoryPoolOptions>()
        .List(nameof(RmaMemoryPoolOptions.SizeClasses), AddSizeClass, new RmaOptionKeys<SizeClassOptions>()
            .Size(nameof(SizeClassOptions.BlockSize), (o, v) => o.BlockSize = v)
            .Integer(nameof(SizeClassOptions.InitialBlocks), (o, v) => o.InitialBlocks = v))
        .Section(nameof(RmaMemoryPoolOptions.SizeClassRange), o => o.SizeClassRange ??= new SizeClassRangeOptions(), new RmaOptionKeys<SizeClassRangeOptions>()
            .Size(nameof(SizeClassRangeOptions.From), (o, v) => o.From = v)
            .Size(nameof(SizeClassRangeOptions.To), (o, v) => o.To = v)
            .Integer(nameof(SizeClassRangeOptions.StepsPerDoubling), (o, v) => o.StepsPerDoubling = v))
        .Size(nameof(RmaMemoryPoolOptions.MaxRegisteredBytes), (o, v) => o.MaxRegisteredBytes = v)
        .Size(nameof(RmaMemoryPoolOptions.MaxSlabBytes), (o, v) => o.MaxSlabBytes = v)
        .Size(nameof(RmaMemoryPoolOptions.MaxIdleDirectBytes), (o, v) => o.MaxIdleDirectBytes = v)
        .Section(nameof(RmaMemoryPoolOptions.RegistrationCache), o => o.RegistrationCache, new RmaOptionKeys<RmaRegistrationCacheOptions>()
            .Size(nameof(RmaRegistrationCacheOptions.MaxBytes), (o, v) => o.MaxBytes = v)
            .Integer(nameof(RmaRegistrationCacheOptions.MaxEntries), (o, v) => o.MaxEntries = v))
        .Duration(nameof(RmaMemoryPoolOptions.IdleRetention), (o, v) => o.IdleRetention = v)
        .Duration(nameof(RmaMemoryPoolOptions.TrimInterval), (o, v) => o.TrimInterval = v)
        .Choice<RmaHugePages>(nameof(RmaMemoryPoolOptions.HugePages), (o, v) => o.HugePages = v)
        .Integer(nameof(RmaMemoryPoolOptions.NumaNode), (o, v) => o.NumaNode = v)
        .Choice<RmaAccess>(nameof(RmaMemoryPoolOptions.Access), (o, v) => o.Access = v)
        .Choice<RmaIsolation>(nameof(RmaMemoryPoolOptions.Isolation), (o, v) => o.Isolation = v)
        .Duration(nameof(RmaMemoryPoolOptions.RentTimeout), (o, v) => o.RentTimeout = v)
        .LimitedDuration(nameof(RmaMemoryPoolOptions.DrainTimeout), TimeSpan.FromDays(1), (o, v) => o.DrainTimeout = v)
        .Choice<RmaLeakDetection>(nameof(RmaMemoryPoolOptions.LeakDetection), (o, v) => o.LeakDetection = v)
        .Flag(nameof(RmaMemoryPoolOptions.ClearOnReturn), (o, v) => o.ClearOnReturn = v)
        .Flag(nameof(RmaMemoryPoolOptions.PoisonOnReturn), (o, v) => o.PoisonOnReturn = v)
        .Flag(nameof(RmaMemoryPoolOptions.CheckPointers), (o, v) => o.CheckPointers = v)
        .Choice<RmaWarmUp>(nameof(RmaMemoryPoolOptions.WarmUp), (o, v) => o.WarmUp = v)
        .Flag(AllowUnknownKeys, (_, _) => { });

    private static SizeClassOptions AddSizeClass(RmaMemoryPoolOptions options)
    {
        var added = new SizeClassOptions();
        options.SizeClasses.Add(added);
        return added;
    }
}
