using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting;

/// <summary>Makes a provider: its constructor may ask for any service, and for the activation.</summary>
internal static class ProviderActivator
{
    private const DynamicallyAccessedMemberTypes Constructors = DynamicallyAccessedMemberTypes.PublicConstructors;

    public static TProvider Create<[DynamicallyAccessedMembers(Constructors)] TProvider>(IServiceProvider services, PoolKey key)
        where TProvider : class, IRmaProvider =>
        // ActivatorUtilities refuses an argument that the constructor doesn't take.
        TakesActivation(typeof(TProvider))
            ? ActivatorUtilities.CreateInstance<TProvider>(services, new RmaProviderActivation(key.Name))
            : ActivatorUtilities.CreateInstance<TProvider>(services);

    /// <summary>Looks at the constructor that is marked as the container's, or else at all of them.</summary>
    private static bool TakesActivation([DynamicallyAccessedMembers(Constructors)] Type provider)
    {
        ConstructorInfo[] constructors = provider.GetConstructors();
        ConstructorInfo? marked = Array.Find(constructors, c => c.IsDefined(typeof(ActivatorUtilitiesConstructorAttribute), inherit: false));
        return marked is null ? constructors.Any(Takes) : Takes(marked);

        static bool Takes(ConstructorInfo constructor) => constructor.GetParameters().Any(p => p.ParameterType == typeof(RmaProviderActivation));
    }
}
