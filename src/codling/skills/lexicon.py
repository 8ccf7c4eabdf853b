"""The words that the grammars draw on: one list for each kind of slot, every value written once.

`grammar.share` keeps every fifth value of a list out of training. A model can only fill such a slot by
copying it, so the lists are long: what makes a small model copy instead of recall is that it meets many
values, each of them rarely. Days, times and other small closed sets of English are shared by both splits.
"""


def listed(text: str) -> tuple[str, ...]:
    """Read a list that is written with commas."""
    return tuple(" ".join(value.split()) for value in text.split(","))


GIRLS = listed("""
    Ana, Lily, Mia, Sue, Nora, Emma, Zoe, Lucy, Anna, Ida, Sara, Maria, Julia, Clara, Thea, Eva, Olivia,
    Ruth, Rosa, Priya, Kate, Jane, Molly, Grace, Yuki, Fatima, Leila, Aisha, Sofia, Ingrid, Amara, Nina,
    Hannah, Alice, Marta, Carmen, Elena, Laura, Paula, Freya, Daisy, Penny, Sally, Betty, Mei, Irene,
    Helen, Diana, Tina, Rina, Gloria, Wanda, Petra, Vera, Greta, Hilda, Linda, Karen, Joan, Marie, Chloe,
    Stella, Ivy, Hazel, Anika, Tara, Divya, Lena, Silvia, Olga, Bella, Ella, Lola, Poppy, Noor, Zara,
    Esther, Naomi, Miriam, Dora, Edith, Maya, Kim, Jill, Beth, Dana, Robin, Yara, Selma, Astrid, Bianca,
    Celia, Fiona, Gwen, Judith, Kira, Lydia, Monica, Nadia, Pearl
""")
BOYS = listed("""
    Tom, Ben, Tim, Max, Omar, Sam, Leo, Jack, Bob, Ravi, Paul, Mark, John, Peter, Luca, Carlos, Diego,
    Ivan, Jan, Kofi, Ahmed, Ali, Hugo, Felix, Arjun, Oscar, Simon, David, Daniel, Tariq, Adam, Noah, Liam,
    Ethan, Jonas, Erik, Lars, Nils, Sven, Mateo, Pablo, Juan, Miguel, Marco, Enzo, George, Harry, Fred,
    Bill, Rohan, Joe, Dan, Nick, Mike, Stefan, Chris, Alex, Toby, Andy, Viktor, Jim, Ken, Ron, Walter,
    Yusuf, Henry, Frank, Louis, Samir, Anton, Boris, Igor, Dmitri, Pavel, Milan, Wei, Chen, Hiro, Kenji,
    Tomas, Finn, Owen, Dylan, Rhys, Callum, Brian, Kevin, Sean, Patrick, Declan, Amit, Vikram, Sanjay,
    Kiran, Jamal, Malik, Isaac, Jacob, Aaron, Elias
""")
FAMILY_NAMES = listed("""
    Miller, Smith, Brown, Garcia, Novak, Jones, Lee, Kim, Wang, Patel, Silva, Rossi, Meyer, Weber, Tanaka,
    Young, Hall, King, Green, Okafor, Baker, Cook, Ward, Gray, Larsen, Hill, Wood, Stone, Moreno, Haddad,
    Khan, Singh, Park, Chavez, Dubois, Fox, West, Nagy, Popov, Virtanen
""")
RELATIVES = listed("mom, dad, my boss, grandma, the team, my sister, my brother, the neighbors, grandpa, my uncle")
TOGETHER = listed("""
    lunch, dinner, a call, a meeting, breakfast, coffee, brunch, drinks, tea, supper, a walk, a chat, a
    video call, chess, tennis, golf, a game, a catch up, an interview, bowling, a hike, a movie, a picnic,
    climbing, shopping, a run
""")
COURSES = listed("""
    piano, yoga, swimming, violin, judo, dance, chess, Spanish, drawing, pottery, guitar, French, cooking,
    driving, ballet, karate, singing, math, drum, tennis, rowing, painting, sewing, Italian, flute,
    sailing, boxing, German, riding, archery, cello, skating, writing, Chinese, knitting
""")
OCCASIONS = listed("""
    dentist appointment, haircut, doctor's appointment, team meeting, vet visit, job interview, staff
    meeting, eye test, school play, choir practice, book club, parent evening, garden party, board
    meeting, flea market, budget review, project kickoff, food festival, car inspection, blood test, house
    viewing, house warming, soccer game, work party, science fair, movie night, game night, tax
    appointment, bake sale, wine tasting, safety training, band rehearsal, hockey match, museum tour, bank
    appointment, family reunion, road trip, product demo, quiz night, phone interview
""")
PARTIES = listed("birthday, party, wedding, graduation, concert, recital, farewell, exhibition, talk, game")
TOPICS = listed("""
    the budget, the website, hiring, the new office, the contract, the launch, safety, the roof,
    marketing, the survey, the garden, sales, the move, the report, the logo, taxes, the trip, insurance,
    the kitchen, the merger, pricing, the school bus, the loan, the prototype, the playground, the
    schedule, the database, the fence, travel, the heating, the newsletter, the exam, the rent, the robot,
    the harvest
""")
PLACES = listed("""
    at the office, at home, at Luigi's, in room 4, at the library, at the park, at Cafe Luna, in the main
    hall, at the station, at the harbor, at the clinic, at school, at the Blue Door, in the garden, at the
    mall, at the museum, in room 12, at the beach, at the Oak Inn, at the stadium, in the basement, at the
    zoo, at the town hall, at Rosa's, at the old mill, on the roof, at the pool, in the lobby, at the
    bakery, at the castle, at the Red Fox, in the studio, at the airport, at the lake, at Pier 9
""")
GOODS = listed("""
    milk, bread, eggs, stamps, flowers, butter, cat food, batteries, apples, candles, rice, a birthday
    card, cheese, soap, tea bags, paper, tickets, light bulbs, diapers, onions, coffee, a new lamp, honey,
    toothpaste, a phone charger, sugar, potatoes, wrapping paper, shoes, pepper, olive oil, a gift,
    bananas, dog treats, paint, yarn, envelopes, a raincoat, salt, vitamins
""")
CHORES = listed("""
    water the plants, take out the trash, feed the cat, pay the rent, walk the dog, do the laundry, clean
    the kitchen, renew my passport, wash the car, charge the bike, lock the back door, take my pills, pay
    the phone bill, book a flight, call the bank, defrost the fridge, back up my laptop, return the
    library books, mow the lawn, change the sheets, feed the fish, submit the report, order a cake, empty
    the dishwasher, bake a pie, iron my shirt, turn off the oven, check the mail, pack my suitcase, cancel
    the gym, sign the contract, fix the tap, pick up the kids, stretch, sweep the porch, drink water,
    sharpen the knives, update my resume, clean the gutters, sort the recycling, vacuum the stairs, print
    the tickets, air the bedroom, do my homework, practice the trumpet
""")
ADJECTIVES = listed("red, blue, green, yellow, big, little, old, new, shiny, pretty, soft, white, brown, funny, pink")
OBJECTS = listed("""
    ball, hat, key, kite, acorn, book, cup, doll, shell, ribbon, toy car, flower, stick, box, whistle,
    drum, bell, coat, cookie, lantern, stone, feather, ring, boat, puzzle, shoe, sock, spoon, leaf,
    marble, crayon, balloon, apple, button, compass, map, star, bucket, basket, pebble, truck, teddy,
    brush, pillow, scarf, jar, coin, rope, train, mitten, block, mirror, pencil, wagon, thimble, blanket,
    plate, bottle, pear, trumpet
""")
SPOTS = listed("""
    in the park, at the beach, in the garden, by the river, in the barn, under the bed, in the kitchen, at
    school, in the woods, by the well, behind the house, in the yard, at the zoo, at the store, on the
    bridge, in the attic, by the lake, under a tree, on the farm, in the cave, at the market, in the
    field, on the hill, in the shed, at the mill, at the pool, by the pond, in the forest, in the car, in
    the tower, near the fence, in the hall, on the stairs, at the library, at the fair, in the sand, on
    the porch, in the meadow, by the road, in the tunnel
""")
ANIMALS = listed("""
    dog, cat, bird, bunny, otter, fish, bear, frog, mouse, badger, duck, fox, rabbit, lion, beaver,
    squirrel, pig, horse, turtle, hedgehog, cow, monkey, goat, bee, raccoon
""")
