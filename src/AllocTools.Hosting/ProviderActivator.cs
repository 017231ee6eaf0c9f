using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting;

/// <summary>Creates a provider, whose constructor may request any service and the activation.</summary>
internal static class ProviderActivator
{
    private const DynamicallyAccessedMemberTypes Constructors = DynamicallyAccessedMemberTypes.PublicConstructors;

    public static TProvider Create<[DynamicallyAccessedMembers(Constructors)] TProvider>(IServiceProvider services, PoolKey key)
        where TProvider : class, IRmaProvider =>
        // ActivatorUtilities throws if the constructor does not accept an argument.
        TakesActivation(typeof(TProvider))
            ? ActivatorUtilities.CreateInstance<TProvider>(services, new RmaProviderActivation(key.Name))
            : ActivatorUtilities.CreateInstance<TProvider>(services);

    /// <summary>Checks the constructor that is marked for dependency injection, or else all constructors.</summary>
    private static bool TakesActivation([DynamicallyAccessedMembers(Constructors)] Type provider)
    {
        ConstructorInfo[] constructors = provider.GetConstructors();
        ConstructorInfo? marked = Array.Find(constructors, c => c.IsDefined(typeof(ActivatorUtilitiesConstructorAttribute), inherit: false));
        return marked is null ? constructors.Any(Takes) : Takes(marked);

        static bool Takes(ConstructorInfo constructor) => constructor.GetParameters().Any(p => p.ParameterType == typeof(RmaProviderActivation));
    }
}
