using AllocTools.Endpoints;
using AllocTools.Providers;

namespace AllocTools.Mpi;

/// <summary>The keys of <see cref="MpiOptions"/>.</summary>
internal static class MpiOptionKeys
{
    public static RmaOptionKeys<MpiOptions> All { get; } = new RmaOptionKeys<MpiOptions>()
        .Choice<MpiImplementation>(nameof(MpiOptions.Implementation), (o, v) => o.Implementation = v)
        .Text(nameof(MpiOptions.LibraryPath), (o, v) => o.LibraryPath = v)
        .Duration(nameof(MpiOptions.StartTimeout), (o, v) => o.StartTimeout = v)
        .Duration(nameof(MpiOptions.EndTimeout), (o, v) => o.EndTimeout = v)
        .Map(nameof(MpiOptions.Settings), (o, name, v) => o.Settings[name] = v)
        .Section(nameof(MpiOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<RmaEndpointOptions>().EndpointOptions());
}
