"""The words of generated workspace names.

People read these names aloud, and put them into tickets and demonstrations. So every adjective must be friendly or
neutral for every animal, alone and together: nothing about bodies, age, sex, wits, morals, illness, religion or
nations, and no animal whose name is an insult, slang, or vermin.
"""

from __future__ import annotations

_ADJECTIVES = """
able adept agile airy alert amber ample apt aqua artful astute autumn avid azure
balanced beaming blithe blue bold brave breezy bright brisk bubbly
calm candid careful caring cheerful cheery chipper clear clever coastal colorful composed copper coral cordial cosmic
cozy crafted crisp crystal curious
dapper daring dazzling deft devoted diligent dreamy dutiful
eager early earnest elated elegant emerald epic
fabled fair faithful famous fearless festive fine floral fluent fond fortunate free fresh friendly
gallant gentle gifted glad gleaming glowing golden graceful gracious grand grateful green
handy happy hardy harmonic hearty helpful heroic honest hopeful humble
ideal imaginative indigo inventive
jolly jovial joyful jubilant
keen
learned light lively logical loyal lucid lucky luminous lunar
magnetic majestic marine mellow merry mighty mindful misty modest musical
neat nifty nimble noble notable
observant open optimistic orderly
patient peaceful perfect playful pleasant plucky poetic polished polite precise prompt proud punctual
quick quiet
radiant ready refined reliable resolute robust rosy royal ruby
sapphire scenic serene sharp shining silver sincere smiling snappy snowy solar sparkling spirited splendid spry stable
starry steady stellar sterling sturdy sublime sunny superb
tactful teal thankful thoughtful thriving tidy tranquil true trusty
upbeat
valiant velvet versatile vibrant vigilant violet vivid
warm wintry witty wonderful worthy
zealous zesty
"""
_ANIMALS = """
albatross alpaca anemone angelfish antelope armadillo avocet axolotl
badger barracuda bison bluebird bobcat bumblebee bunting butterfly
caracal cardinal caribou chameleon cheetah chickadee chinchilla condor coral corgi cormorant crane cricket curlew
damselfly deer dolphin dormouse dove dragonfly dunlin
eagle egret eider elk ermine
falcon fawn fennec ferret finch firefly flamingo fox
gannet gazelle gecko gibbon giraffe goldfinch goldfish goshawk grasshopper grebe grouse gull
hamster hare harrier hawk hedgehog heron honeybee hummingbird
ibex ibis iguana impala
jackdaw jaguar jay jerboa
kestrel kingfisher kite kiwi koala kudu
ladybird lapwing lark lemur leopard limpet linnet lion llama lobster lynx lyrebird
macaw manatee mantis marlin marmot marten martin meerkat merlin mink mongoose moose moth
narwhal nautilus newt nightingale numbat nuthatch
ocelot octopus okapi orca oriole osprey otter owl oystercatcher
panda pangolin panther parakeet partridge peacock pelican penguin petrel pheasant pika pipit platypus plover pony
porcupine porpoise ptarmigan puffin puma
quail quokka
rabbit raccoon raven razorbill redstart reindeer robin
sable salamander salmon sandpiper seahorse seal serval shearwater siskin skylark sparrow springbok squirrel starfish
starling stilt stork sturgeon sunfish swallow swan swordfish
tapir tern thrush tiger tortoise toucan trout turtle
vicuna
wallaby walrus warbler waxwing wolf wolverine wombat woodpecker wren
yak
zebra
"""
ADJECTIVES = tuple(_ADJECTIVES.split())
ANIMALS = tuple(_ANIMALS.split())
